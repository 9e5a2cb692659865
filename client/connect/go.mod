module github.com/qiao-tx/qiao/client/connect

go 1.26.0

require (
	connectrpc.com/connect v1.21.1
	github.com/qiao-tx/qiao v0.0.0
	github.com/stretchr/testify v1.12.1
	google.golang.org/protobuf v1.36.12
)

require go.yaml.in/yaml/v3 v3.0.6 // indirect

replace github.com/qiao-tx/qiao => ../..
