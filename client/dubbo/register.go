package dubbo

import (
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/filter"

	"github.com/qiao-tx/qiao/client/carry"
)

// Names of the filters, for dubbo-go's configuration.
const (
	// ConsumerFilter sends the transaction of a call's context along.
	ConsumerFilter = "qiao-consumer"
	// ProviderFilter binds the transaction that came along to the handler's context.
	ProviderFilter = "qiao-provider"
	// ProviderFilters is ProviderFilter after dubbo-go's own: server.WithFilter
	// replaces what it finds.
	ProviderFilters = constant.DefaultServiceFilters + "," + ProviderFilter
)

// Config says how the filters treat what is out of the ordinary. The zero value
// is the safe one.
type Config struct {
	// Policy judges the attachments of calls that a provider receives. A call that
	// is refused fails with the reason; over triple with INVALID_ARGUMENT.
	carry.Policy
	// AllowRetries lets dubbo-go's clusters repeat a call inside a transaction.
	// Otherwise such a call is sent once and its error is final: dubbo-go's
	// default cluster (failover) repeats a call twice after a time-out, and over
	// the protocol dubbo after any error, also one of the business. The first
	// attempt may have done its work, which would then be done twice in one
	// transaction. Set it when all that is called is idempotent.
	AllowRetries bool
}

// Register makes the filters known to dubbo-go under their names, and the types
// of action contexts to its Hessian codec. Call it when the process starts,
// before a client or server that names the filters is made: dubbo-go panics when
// it meets a name it does not know. What is registered is the whole process's,
// as dubbo-go has no other way; a later Register replaces an earlier one for
// clients and servers made after it.
func Register(cfg Config) {
	extension.SetFilter(ConsumerFilter, func() filter.Filter { return consumerFilter{cfg} })
	extension.SetFilter(ProviderFilter, func() filter.Filter { return providerFilter{cfg.Policy} })
	registerActionContexts()
}
