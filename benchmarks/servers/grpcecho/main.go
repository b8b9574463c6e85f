// A gRPC echo for the benchmarks: a BytesValue comes back as it was sent, by grpc-go. Prints its port.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func echo(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	message := new(wrapperspb.BytesValue)
	if err := decode(message); err != nil {
		return nil, err
	}
	return message, nil
}

func main() {
	runtime.GOMAXPROCS(1)    // it has one core
	debug.SetGCPercent(1000) // and collects seldom: its time is not what is measured
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.NumStreamWorkers(4))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "aquests.bench.Echo",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: echo}},
	}, nil)
	go func() {
		io.Copy(io.Discard, os.Stdin) // it ends with its standard input
		os.Exit(0)
	}()
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(server.Serve(listener))
}
