// Package file is Seata's file registry: the coordinator nodes of a transaction
// service group are in a configuration file that Java services have, too.
//
// Job: read the group's cluster (service.vgroupMapping.<group>) and that cluster's
// nodes (service.<cluster>.grouplist) from file.conf, registry.conf, a .properties
// file or a Spring Boot application.yml.
// Owner: the application makes a Resolver and gives it to its client.
// It must not know: connections, other registries.
package file
