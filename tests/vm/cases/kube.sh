# Kubernetes: a Deployment with limits behind a Service, updated, and on while the daemon is killed; and nothing stays of it.

command -v kubectl >/dev/null || {
    echo "kubectl is not installed where this machine was made"
    return 1
}
export KUBECONFIG=/run/linkspan/kubeconfig
docker tag busybox busybox:1
eventually kubectl get serviceaccount default
kubectl get nodes -o wide
cat >/tmp/web.yaml <<'END'
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  selector:
    matchLabels: { app: web }
  template:
    metadata:
      labels: { app: web }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox:1
        command: [httpd, -f, -p, '8080', -h, /var/www]
        resources:
          limits: { cpu: 500m, memory: 64Mi }
        readinessProbe:
          tcpSocket: { port: 8080 }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: NodePort
  selector: { app: web }
  ports:
  - { port: 80, targetPort: 8080, nodePort: 30080 }
END
kubectl apply -f /tmp/web.yaml
kubectl rollout status deployment/web --timeout=120s
address=$(kubectl get service web -o 'jsonpath={.spec.clusterIP}')
eventually reach "$address:80" 192.0.2.1:30080 127.0.0.1:30080
outside "reach 192.0.2.1:30080"

equal "$(kubectl exec deployment/web -- sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max')" "67108864
50000 100000"

kubectl set env deployment/web VERSION=2
kubectl rollout status deployment/web --timeout=120s
reach "$address:80"

kill_daemon
reach "$address:80"
outside "reach 192.0.2.1:30080"
start_daemon
eventually kubectl get deployment web
reach "$address:80"
equal "$(kubectl get pods -o 'jsonpath={range .items[*]}{.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort -u)" 0

kubectl delete deployment/web service/web
no_containers() {
    [ -z "$(docker ps -aq)" ]
}
eventually no_containers
