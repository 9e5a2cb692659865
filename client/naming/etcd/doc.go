// Package etcd is Seata's registry in etcd (type etcd3): coordinator nodes list
// themselves under keys with a lease, and clients find them there.
//
// Job: a naming.Resolver, Watcher and Announcer on etcd, with the keys and values
// of Java Seata (org.apache.seata.discovery.registry.etcd3.EtcdRegistryServiceImpl),
// so that either end can be a Java one.
// Owner: an application makes a Registry for its client, a server one to be listed.
// It must not know: the connections to coordinators, configuration files other than
// Seata's.
//
// A node at 10.0.0.1:8091 of the cluster "default" has the key
// registry-seata-default-10.0.0.1:8091 with the value 10.0.0.1:8091. Java looks for
// all keys that begin with registry-seata-default, which finds the nodes of a cluster
// "default2", too; this package takes only those of the cluster itself.
package etcd
