"""The gRPC connection to an etcd cluster: channels, failover, authentication, status."""
