package dubbo

func registerActionContexts() {}
