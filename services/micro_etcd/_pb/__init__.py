"""Messages of the etcd v3 protocol, generated from micro_etcd.proto by generate.sh."""
