"""The etcd client that speaks gRPC to the cluster."""
