"""The gRPC servicers: between messages and use cases. Who may call what the .proto files say."""
