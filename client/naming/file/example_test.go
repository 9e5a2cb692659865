package file_test

import (
	"context"
	"fmt"
	"log"

	"github.com/qiao-tx/qiao/client/naming/file"
)

// The configuration of a Spring Boot service of Java's.
func Example() {
	r, err := file.New("testdata/application.yml", "default_tx_group")
	if err != nil {
		log.Fatal(err)
	}
	addresses, err := r.Resolve(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(addresses) // give r to client.Open as its Resolver
	// Output: [127.0.0.1:8091 tc2.internal:8092]
}
