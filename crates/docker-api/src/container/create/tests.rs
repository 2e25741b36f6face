//! From documents to wishes: each golden file shows a request and what its wish has that the smallest has not.

use serde_json::{Value, json};

use crate::testing::{check_golden, differences, opened, wish, wish_in, with_container, with_network};
use crate::version::Version;

fn image_only() -> Value {
    json!({ "Image": "box" })
}

fn check(name: &str, body: Value) {
    let state = with_network(&opened(), "net");
    let state = with_container(
        &state,
        "db",
        &json!({ "Image": "box", "HostConfig": { "Binds": ["/srv:/srv", "data:/data"], "IpcMode": "shareable" } }),
    );
    let (base, _) = wish(&state, Some("web"), &image_only()).unwrap();
    let (found, warnings) = wish(&state, Some("web"), &body).unwrap();
    let base = serde_json::to_value(base).unwrap();
    let mut found = serde_json::to_value(found).unwrap();
    found["face"] = base["face"].clone();
    let text = format!(
        "{body:#}\n\n{}{}",
        differences(&base, &found),
        warnings.iter().map(|w| format!("! {w}\n")).collect::<String>()
    );
    check_golden(&format!("create/{name}.txt"), &text);
}

#[test]
fn smallest() {
    let (found, warnings) = wish(&opened(), Some("web"), &image_only()).unwrap();
    assert!(warnings.is_empty());
    check_golden("create/smallest.json", &format!("{:#}\n", serde_json::to_value(found).unwrap()));
}

#[test]
fn process() {
    check(
        "process",
        json!({
            "Image": "box", "Entrypoint": "/entry", "Cmd": ["serve", "--fast"], "Env": ["LANG=de", "A=1", "PATH"],
            "WorkingDir": "/app", "User": "1000:1000", "Tty": true, "OpenStdin": true, "StdinOnce": true,
            "Hostname": "www", "Domainname": "example.org", "StopSignal": "SIGINT", "StopTimeout": 3,
            "Labels": {"a": "b"}, "Healthcheck": {"Test": ["CMD-SHELL", "curl -f localhost"], "Interval": 2_000_000_000, "Timeout": null},
            "HostConfig": {
                "Init": true, "GroupAdd": ["audio"], "ConsoleSize": [40, 120], "AutoRemove": true,
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            },
        }),
    );
}

#[test]
fn ports() {
    check(
        "ports",
        json!({
            "Image": "box", "ExposedPorts": {"80/tcp": {}, "9000-9001/udp": {}},
            "HostConfig": { "PublishAllPorts": true, "PortBindings": {
                "80/tcp": [{"HostPort": "8080"}, {"HostIp": "::1", "HostPort": "8080"}],
                "8000/tcp": [{"HostPort": "8000"}], "8001/tcp": [{"HostPort": "8001"}], "8002/tcp": [{"HostPort": "8002"}],
                "8004/tcp": [{"HostPort": "8004"}],
                "53/udp": [{"HostIp": "127.0.0.1", "HostPort": ""}], "443/tcp": [{"HostPort": "8443-8450"}], "25/tcp": null,
            } },
        }),
    );
}

#[test]
fn networks() {
    check(
        "networks",
        json!({
            "Image": "box", "MacAddress": "02:00:00:00:00:01",
            "HostConfig": {
                "NetworkMode": "net", "Links": ["db:database"], "Dns": ["9.9.9.9", "2620:fe::fe"], "DnsSearch": ["example.org"],
                "DnsOptions": ["ndots:2"], "ExtraHosts": ["gw:host-gateway", "six:[::1]", "four:10.0.0.1"],
                "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "1"},
            },
            "NetworkingConfig": { "EndpointsConfig": {
                "net": {
                    "IPAMConfig": {"IPv4Address": "10.1.0.9", "IPv6Address": "fd01::9", "LinkLocalIPs": ["169.254.1.1"]},
                    "Aliases": ["www"], "GwPriority": 5,
                    "DriverOpts": {
                        "com.docker.network.endpoint.ifname": "lan0",
                        "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2",
                    },
                },
                "bridge": null,
            } },
        }),
    );
}

#[test]
fn network_modes() {
    check(
        "network_host",
        json!({ "Image": "box", "HostConfig": { "NetworkMode": "host", "PortBindings": {"80/tcp": [{}]} } }),
    );
    check("network_none", json!({ "Image": "box", "HostConfig": { "NetworkMode": "none" } }));
    check("network_of_container", json!({ "Image": "box", "HostConfig": { "NetworkMode": "container:db" } }));
    let default = json!({ "Image": "box", "HostConfig": { "NetworkMode": "default" }, "NetworkingConfig": { "EndpointsConfig": { "default": {} } } });
    check("network_default", default);
}

#[test]
fn mounts() {
    check(
        "mounts",
        json!({
            "Image": "box", "Volumes": {"/cache": {}, "/data": {}},
            "HostConfig": {
                "VolumesFrom": ["db:ro"],
                "Binds": ["/etc/../srv//x/:/x:ro,rslave", "logs:/var/log:nocopy"],
                "Tmpfs": {"/run": "size=64m,exec"},
                "Mounts": [
                    {"Type": "bind", "Source": "/opt", "Target": "/opt", "ReadOnly": true, "BindOptions": {"NonRecursive": true}},
                    {"Type": "bind", "Source": "/usr", "Target": "/usr", "ReadOnly": true, "BindOptions": {"ReadOnlyNonRecursive": true}},
                    {"Type": "volume", "Source": "deep", "Target": "/deep", "VolumeOptions": {"Subpath": "a/b", "Labels": {"l": "1"},
                        "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs"}}}},
                    {"Type": "volume", "Target": "/anonymous"},
                    {"Type": "tmpfs", "Target": "/scratch", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 448}},
                ],
            },
        }),
    );
}

#[test]
fn limits_and_security() {
    check(
        "limits",
        json!({
            "Image": "box",
            "HostConfig": {
                "Memory": 67_108_864, "MemoryReservation": 33_554_432, "NanoCpus": 1_500_000_000, "CpuShares": 512, "CpusetCpus": "0-2",
                "PidsLimit": 50, "MemorySwappiness": -1, "BlkioWeight": 300, "ShmSize": 1_048_576, "OomKillDisable": false,
                "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 4},
                "BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1}],
            },
        }),
    );
    check(
        "security",
        json!({
            "Image": "box",
            "HostConfig": {
                "Privileged": true, "CapAdd": ["net_admin", "CAP_SYS_TIME"], "CapDrop": ["ALL"], "ReadonlyRootfs": true,
                "SecurityOpt": ["no-new-privileges", "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"], "OomScoreAdj": -5,
                "Devices": [{"PathOnHost": "/dev/fuse"}], "DeviceCgroupRules": ["c 42:* rmw"],
                "PidMode": "host", "IpcMode": "container:db", "UTSMode": "host", "CgroupnsMode": "host", "Runtime": "/usr/bin/runc",
            },
        }),
    );
}

/// What the docker CLI sends for `docker create box`: sentinels wherever nothing was said.
const CLI: &str = r#"{
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Tty": false,
    "OpenStdin": false, "StdinOnce": false, "Env": null, "Cmd": null, "Image": "box", "Volumes": {}, "WorkingDir": "",
    "Entrypoint": null, "OnBuild": null, "Labels": {},
    "HostConfig": {
        "Binds": null, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}}, "NetworkMode": "default", "PortBindings": {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": false, "VolumeDriver": "", "VolumesFrom": null,
        "ConsoleSize": [0, 0], "CapAdd": null, "CapDrop": null, "CgroupnsMode": "", "Dns": [], "DnsOptions": [], "DnsSearch": [],
        "ExtraHosts": null, "GroupAdd": null, "IpcMode": "", "Cgroup": "", "Links": null, "OomScoreAdj": 0, "PidMode": "",
        "Privileged": false, "PublishAllPorts": false, "ReadonlyRootfs": false, "SecurityOpt": null, "UTSMode": "", "UsernsMode": "",
        "ShmSize": 0, "Isolation": "", "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0,
        "BlkioWeightDevice": [], "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [], "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [], "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "",
        "CpusetMems": "", "Devices": [], "DeviceCgroupRules": null, "DeviceRequests": null, "MemoryReservation": 0, "MemorySwap": 0,
        "MemorySwappiness": -1, "OomKillDisable": false, "PidsLimit": 0, "Ulimits": [], "CpuCount": 0, "CpuPercent": 0,
        "IOMaximumIOps": 0, "IOMaximumBandwidth": 0, "MaskedPaths": null, "ReadonlyPaths": null
    },
    "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": null, "Links": null, "Aliases": null, "DriverOpts": null, "GwPriority": 0}}}
}"#;

#[test]
fn what_the_cli_always_sends() {
    check("cli", serde_json::from_str(CLI).unwrap());
}

#[test]
fn refusals() {
    let host = |config: Value| json!({ "Image": "box", "HostConfig": config });
    let of_db = |config: Value| {
        let mut body = config;
        body["HostConfig"]["NetworkMode"] = "container:db".into();
        body
    };
    let cases = [
        (host(json!({ "Memory": 1 })), "Minimum memory limit allowed is 6MB"),
        (
            host(json!({ "Memory": 8_000_000, "MemorySwap": 7_000_000 })),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            host(json!({ "MemorySwap": 8_000_000 })),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (host(json!({ "MemorySwappiness": 101 })), "Invalid value: 101, valid memory swappiness range is 0-100"),
        (
            host(json!({ "NanoCpus": 5_000_000_000_i64 })),
            "Range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available",
        ),
        (
            host(json!({ "NanoCpus": 1, "CpuPeriod": 1_000 })),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (
            host(json!({ "CpuPeriod": 10 })),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (host(json!({ "CpusetCpus": "0-9" })), "Requested CPUs are not available - requested 0-9, available: 0-3"),
        (host(json!({ "CpusetCpus": "x" })), "Invalid value x for cpuset cpus: invalid format: x"),
        (
            host(json!({ "CpusetMems": "0-2" })),
            "Requested memory nodes are not available - requested 0-2, available: 0-1",
        ),
        (host(json!({ "BlkioWeight": 5 })), "Range of blkio weight is from 10 to 1000"),
        (host(json!({ "Ulimits": [{ "Name": "files" }] })), "invalid ulimit type: files"),
        (
            host(json!({ "Ulimits": [{ "Name": "nofile", "Soft": 2, "Hard": 1 }] })),
            "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
        ),
        (host(json!({ "ShmSize": -1 })), "SHM size can not be less than 0"),
        (host(json!({ "OomScoreAdj": 1_001 })), "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        (
            host(json!({ "RestartPolicy": { "Name": "sometimes" } })),
            "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
        (
            host(json!({ "RestartPolicy": { "Name": "always", "MaximumRetryCount": 1 } })),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (
            host(json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": -1 } })),
            "invalid restart policy: maximum retry count cannot be negative",
        ),
        (
            host(json!({ "AutoRemove": true, "RestartPolicy": { "Name": "always" } })),
            "can't create 'AutoRemove' container with restart policy",
        ),
        (host(json!({ "LogConfig": { "Type": "syslog" } })), "logger: no log driver named 'syslog' is registered"),
        (
            host(json!({ "LogConfig": { "Type": "json-file", "Config": { "size": "1" } } })),
            "unknown log opt 'size' for json-file log driver",
        ),
        (host(json!({ "CapAdd": ["FLY"] })), "invalid CapAdd: unknown capability: \"CAP_FLY\""),
        (host(json!({ "SecurityOpt": ["what"] })), "invalid --security-opt 2: \"what\""),
        (host(json!({ "PidMode": "other" })), "invalid PID mode: other"),
        (host(json!({ "IpcMode": "container:none" })), "No such container: none"),
        (host(json!({ "Runtime": "kata" })), "unknown or invalid runtime name: kata"),
        (host(json!({ "NetworkMode": "nowhere" })), "network nowhere not found"),
        (
            host(json!({ "NetworkMode": "container:" })),
            "Invalid network mode: invalid container format container:<name|id>",
        ),
        (
            host(json!({ "NetworkMode": "host", "Links": ["db"] })),
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ),
        (
            of_db(json!({ "Image": "box", "Hostname": "x", "HostConfig": {} })),
            "conflicting options: hostname and the network mode",
        ),
        (
            of_db(host(json!({ "PortBindings": { "80/tcp": [{}] } }))),
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            of_db(json!({ "Image": "box", "ExposedPorts": { "80/tcp": {} }, "HostConfig": {} })),
            "conflicting options: port exposing and the container type network mode",
        ),
        (of_db(host(json!({ "Dns": ["1.1.1.1"] }))), "conflicting options: dns and the network mode"),
        (
            of_db(host(json!({ "ExtraHosts": ["a:1.1.1.1"] }))),
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            json!({ "Image": "box", "Hostname": "x", "HostConfig": { "UTSMode": "host" } }),
            "conflicting options: hostname and the UTS mode",
        ),
        (host(json!({ "PortBindings": { "http/tcp": [{}] } })), "invalid port specification: \"http\""),
        (host(json!({ "PortBindings": { "80/icmp": [{}] } })), "invalid port specification: \"80/icmp\""),
        (
            host(json!({ "PortBindings": { "80/tcp": [{ "HostPort": "65536" }] } })),
            "invalid port specification: \"65536\"",
        ),
        (host(json!({ "PortBindings": { "80/tcp": [{ "HostPort": "9-8" }] } })), "invalid port specification: \"9-8\""),
        (host(json!({ "PortBindings": { "80/tcp": [{ "HostIp": "here" }] } })), "invalid IP address: here"),
        (host(json!({ "ExtraHosts": ["name"] })), "bad format for add-host: \"name\""),
        (host(json!({ "ExtraHosts": ["name:1.2"] })), "invalid IP address in add-host: \"1.2\""),
        (host(json!({ "Links": ["gone:x"] })), "could not get container for gone: No such container: gone"),
        (
            host(json!({ "Binds": ["/a:b"] })),
            "invalid volume specification: '/a:b': invalid mount path: 'b' mount path must be absolute",
        ),
        (
            host(json!({ "Binds": ["/a:/"] })),
            "invalid volume specification: '/a:/': invalid specification: destination can't be '/'",
        ),
        (host(json!({ "Binds": ["/a:/b:fast"] })), "invalid mode: fast"),
        (host(json!({ "Binds": ["/a:/b:ro:x"] })), "invalid volume specification: '/a:/b:ro:x'"),
        (host(json!({ "Binds": ["/a:/b", "/c:/b/"] })), "Duplicate mount point: /b"),
        (
            host(json!({ "Binds": ["a/b:/b"] })),
            "\"a/b\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
        ),
        (
            host(json!({ "VolumeDriver": "nfs", "Binds": ["data:/x"] })),
            "error looking up volume plugin nfs: plugin \"nfs\" not found",
        ),
        (
            host(json!({ "Mounts": [{ "Type": "bind", "Target": "/x" }] })),
            "invalid mount config for type \"bind\": field Source must not be empty",
        ),
        (
            host(json!({ "Mounts": [{ "Type": "bind", "Source": "/x", "Target": "/x", "ReadOnly": true,
                "BindOptions": { "ReadOnlyNonRecursive": true, "ReadOnlyForceRecursive": true } }] })),
            "invalid mount config for type \"bind\": mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive",
        ),
        (
            host(json!({ "Mounts": [{ "Type": "disk", "Target": "/x" }] })),
            "invalid mount config for type \"disk\": mount type unknown",
        ),
        (
            host(json!({ "Sysctls": { "vm.swappiness": "1" } })),
            "sysctl \"vm.swappiness\" is not in a separate kernel namespace",
        ),
        (
            json!({ "Image": "box", "WorkingDir": "app" }),
            "the working directory 'app' is invalid, it needs to be an absolute path",
        ),
        (json!({ "Image": "box", "Env": ["=x"] }), "invalid environment variable: =x"),
        (json!({ "Image": "box", "StopSignal": "SIGNOT" }), "invalid signal: SIGNOT"),
        (
            json!({ "Image": "box", "Healthcheck": { "Interval": 5 } }),
            "Interval in Healthcheck cannot be less than 1ms",
        ),
        (json!({ "Image": "box", "Healthcheck": { "Retries": -1 } }), "Retries in Healthcheck cannot be negative"),
        (
            json!({ "Image": "box", "NetworkingConfig": { "EndpointsConfig": { "bridge": { "IPAMConfig": { "IPv4Address": "172.17.0.9" } } } } }),
            "invalid config for network bridge: invalid endpoint settings:\nuser specified IP address is supported on user defined networks only",
        ),
        (
            json!({ "Image": "box", "HostConfig": { "NetworkMode": "none" }, "NetworkingConfig": { "EndpointsConfig": { "net": {} } } }),
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        ),
        (
            json!({ "Image": "box", "Env": "A=1" }),
            "invalid JSON: invalid type: string \"A=1\", expected a sequence at line 1 column 27",
        ),
        (
            host(json!({ "Memory": "1g" })),
            "invalid JSON: invalid type: string \"1g\", expected i64 at line 1 column 29",
        ),
    ];
    let state = with_container(&with_network(&opened(), "net"), "db", &image_only());
    for (body, expected) in cases {
        let found = wish(&state, None, &body).map(drop).map_err(|error| error.message);
        assert_eq!(found, Err(expected.to_owned()), "{body}");
    }
    for name in ["", "a", "-a", "a b", "a/b", "ä1", "/"] {
        let expected = format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
        assert_eq!(wish(&state, Some(name), &image_only()).map(drop).unwrap_err().message, expected);
    }
    let several = json!({ "Image": "box", "NetworkingConfig": { "EndpointsConfig": { "net": {}, "bridge": {} } } });
    let old = wish_in(Version::new(1, 43), &state, None, &several).map(drop).unwrap_err();
    assert_eq!(old.message, "Container cannot be connected to network endpoints: bridge, net");
}

/// A thousand ports that clients send one by one are one wish.
#[test]
fn a_thousand_ports_are_one_range() {
    let bindings: serde_json::Map<String, Value> =
        (8_000..9_000).map(|port| (format!("{port}/tcp"), json!([{ "HostPort": port.to_string() }]))).collect();
    let body = json!({ "Image": "box", "HostConfig": { "PortBindings": bindings } });
    let (found, _) = wish(&opened(), None, &body).unwrap();
    let model::command::SandboxWish::New(model::command::NewSandbox { sandbox, .. }) = found.sandbox else {
        panic!("a sandbox of its own")
    };
    assert_eq!(sandbox.ports.len(), 1);
    assert_eq!(sandbox.ports[0].inside.len(), 1_000);
}
