# What somebody in a container may try, one line each: its name, and what the kernel answered. System calls by their numbers on
# x86-64 (syscalls(2)); a try that succeeded changes nothing outside of this container. Each is made by a child of its own.
use strict;

my ($NEWNS, $NEWUTS, $NEWUSER, $NEWNET, $SIGCHLD) = (0x00020000, 0x04000000, 0x10000000, 0x40000000, 17);

# syscall wants variables, because the kernel may write into what it is given.
sub call { my @words = @_; syscall($words[0], @words[1 .. $#words]) >= 0 }
sub opens { my ($mode, $path) = @_; open(my $file, $mode, $path) }
sub writes { my ($path, $text) = @_; my $file; open($file, ">", $path) && defined(syswrite($file, $text)) }
sub reads { my ($path) = @_; my ($file, $text); open($file, "<", $path) && sysread($file, $text, 1) }
sub lists { my ($path) = @_; my $dir; opendir($dir, $path) && grep { !/^\.\.?$/ } readdir($dir) }
sub node { my ($kind, $major, $minor) = @_; call(133, "/node", $kind | 0600, $major << 8 | $minor) }
sub namespace { my $file; open($file, "<", "/proc/self/ns/$_[0]") && call(308, fileno($file), 0) }

# Files and devices come first: who may mount has them changed by the tries that follow.
my @tries = (
    # Files of the kernel.
    [read_kcore => sub { reads("/proc/kcore") }],
    [read_keys => sub { reads("/proc/keys") }],
    [read_timer_list => sub { reads("/proc/timer_list") }],
    [read_interrupts => sub { reads("/proc/interrupts") }],
    [list_scsi => sub { lists("/proc/scsi") }],
    [list_acpi => sub { lists("/proc/acpi") }],
    [list_firmware => sub { lists("/sys/firmware") }],
    [write_sysctl => sub { writes("/proc/sys/vm/nr_hugepages", "linkspan") }],
    [write_sysctl_net => sub { writes("/proc/sys/net/ipv4/ip_forward", "linkspan") }],
    [write_sysrq => sub { opens(">", "/proc/sysrq-trigger") }],
    [write_irq => sub { opens(">", "/proc/irq/default_smp_affinity") }],
    [write_sys => sub { opens(">", "/sys/kernel/profiling") }],
    [write_cgroup => sub { mkdir("/sys/fs/cgroup/linkspan-test") || mkdir("/sys/fs/cgroup/pids/linkspan-test") }],
    [write_oom_score => sub { writes("/proc/self/oom_score_adj", "-1") }],
    # Devices.
    [open_mem => sub { opens("<", "/dev/mem") }],
    [mknod_mem => sub { node(0020000, 1, 1) }],
    [mknod_open_mem => sub { node(0020000, 1, 1) && opens("<", "/node") }],
    [mknod_open_kmsg => sub { node(0020000, 1, 11) && opens("<", "/node") }],
    [mknod_open_loop => sub { node(0020000, 10, 237) && opens("<", "/node") }],
    [mknod_open_fuse => sub { node(0020000, 10, 229) && opens("<", "/node") }],
    [mknod_open_tun => sub { node(0020000, 10, 200) && opens("<", "/node") }],
    [mknod_open_null => sub { node(0020000, 1, 3) && opens("<", "/node") }],
    [mknod_open_disk => sub { node(0060000, 7, 0) && opens("<", "/node") }],
    [open_null => sub { opens("<", "/dev/null") }],
    [open_tty => sub { opens("<", "/dev/tty") }],
    [chmod_suid => sub { writes("/node", "") && chmod(04755, "/node") }],
    [kill_init => sub { kill(0, 1) }],
    # Namespaces and mounts.
    [mount => sub { call(165, "x", "/media", "tmpfs", 0, 0) }],
    [remount => sub { call(165, "x", "/proc/sys", "x", 4096 | 32, 0) }],
    [umount2 => sub { call(166, "/proc/sys", 2) }],
    [pivot_root => sub { call(155, "/nosuch", "/nosuch") }],
    [fsopen => sub { call(430, "tmpfs", 0) }],
    [open_tree => sub { call(428, -100, "/", 1) }],
    [move_mount => sub { call(429, -1, "/nosuch", -1, "/nosuch", 0) }],
    [mount_setattr => sub { call(442, -1, "/nosuch", 0, 0, 0) }],
    [unshare_mount => sub { call(272, $NEWNS) }],
    [unshare_user => sub { call(272, $NEWUSER) }],
    [clone_user => sub { my $me = $$; my $made = call(56, $NEWUSER | $SIGCHLD, 0, 0, 0, 0); exit if $$ != $me; $made }],
    [clone_net => sub { my $me = $$; my $made = call(56, $NEWNET | $SIGCHLD, 0, 0, 0, 0); exit if $$ != $me; $made }],
    [clone3 => sub { call(435, 0, 0) }],
    [setns => sub { namespace("net") }],
    [sethostname => sub { call(272, $NEWUTS) && call(170, "x", 1) }],
    [sethostname_here => sub { my $name = `cat /etc/hostname`; chomp($name); call(170, $name, length($name)) }],
    [chroot => sub { call(161, "/") }],
    # Keys, programs in the kernel, other processes.
    [keyctl => sub { call(250, 0, -3, 0) }],
    [add_key => sub { call(248, "user", "linkspan-test", "x", 1, -1) }],
    [request_key => sub { call(249, "user", "linkspan-nosuch", 0, -1) }],
    [bpf => sub { call(321, 99, 0, 0) }],
    [perf_event_open => sub { call(298, 0, 0, -1, -1, 0) }],
    [userfaultfd => sub { call(323, 1) }],
    [io_uring_setup => sub { call(425, 0, 0) }],
    [ptrace_traceme => sub { call(101, 0, 0, 0, 0) }],
    [process_vm_readv => sub { call(310, $$, 0, 0, 0, 0, 0) }],
    [pidfd_getfd => sub { call(438, -1, 0, 0) }],
    [kcmp => sub { call(312, $$, $$, 1, 0, 0) }],
    [process_madvise => sub { call(440, -1, 0, 0, 0, 0) }],
    # The machine.
    [reboot => sub { call(169, 1, 2, 3, 0) }],
    [kexec_load => sub { call(246, 0, 17, 0, 0) }],
    [init_module => sub { call(175, 0, 0, "") }],
    [delete_module => sub { call(176, "linkspan_nosuch", 0) }],
    [swapon => sub { call(167, "/nosuch", 0) }],
    [acct => sub { call(163, "/nosuch") }],
    [clock_settime => sub { call(227, 0, 0) }],
    [settimeofday => sub { call(164, 1, 0) }],
    [quotactl => sub { call(179, 0x800002 << 8, "/nosuch", 0, 0) }],
    [syslog => sub { call(103, 10, 0, 0) }],
    [vhangup => sub { call(112, 1) && call(153) }],
    [iopl => sub { call(172, 9) }],
    [ioperm => sub { call(173, 0xffffff, 1, 1) }],
    [open_by_handle_at => sub { call(304, -1, 0, 0) }],
    [name_to_handle_at => sub { call(303, -1, "/nosuch", 0, 0, 0) }],
    [get_mempolicy => sub { call(239, 0, 0, 0, 0, 0) }],
    [personality => sub { call(135, 0xffffffff) }],
    [personality_no_randomize => sub { call(135, 0x0040000) }],
    [socket_vsock => sub { call(41, 40, 1, 0) || $!{EAFNOSUPPORT} }],
    [socket_packet => sub { call(41, 17, 3, 0) }],
    [socket_raw => sub { call(41, 2, 3, 1) }],
);

$| = 1;
for my $try (@tries) {
    my ($name, $run) = @$try;
    unlink("/node");
    pipe(my $from, my $to);
    my $child = fork();
    if ($child == 0) {
        close($from);
        $! = 0;
        my $done = $run->();
        syswrite($to, $done ? "yes" : $! ? "$!" : "nothing there");
        exit;
    }
    close($to);
    my $said = join("", <$from>);
    waitpid($child, 0);
    print("$name: $said\n");
}
