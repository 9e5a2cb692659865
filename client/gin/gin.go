// Package gin carries a global transaction into the handlers of a gin router.
//
// Job: a gin.HandlerFunc that gives the request a context in the transaction of its
// headers. To call further services, wrap the http.Client with client/http.Transport.
// Owner: the application uses it on its router, before the handlers.
// It must not know: connections to a coordinator, or what a transaction does.
//
//	router := gin.New()
//	router.Use(qiaogin.Middleware(carry.Policy{}))
//	router.POST("/take", func(c *gin.Context) {
//		_, err := db.ExecContext(c.Request.Context(), "UPDATE stock …")
//
// Handlers pass c.Request.Context() on, not c itself: a *gin.Context is a
// context.Context too, but carries the transaction only where the router's
// ContextWithFallback is on, and is used again for other requests.
package gin

import (
	nethttp "net/http"

	gogin "github.com/gin-gonic/gin"

	"github.com/qiao-tx/qiao/client/carry"
	"github.com/qiao-tx/qiao/client/http"
)

// Middleware is client/http's for gin: a request without a transaction is handled
// as it is; one whose transaction cannot be joined is answered with status 400 and
// the reason as text, and later handlers do not run, or it is handled outside of
// any transaction, as p says.
func Middleware(p carry.Policy) gogin.HandlerFunc {
	return func(c *gogin.Context) {
		ctx, err := http.Join(c.Request, p)
		if err != nil {
			c.Abort()
			c.String(nethttp.StatusBadRequest, "%s", err.Error())
			return
		}
		if ctx != c.Request.Context() {
			c.Request = c.Request.WithContext(ctx)
		}
		c.Next()
	}
}
