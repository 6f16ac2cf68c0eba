// A goroutine per client, as usual in Go.
// Build: go build -o peer peer.go    Run: peer PORT LOG
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
)

func serve(conn net.Conn, client int, accessLog *os.File) error {
	defer conn.Close()
	message, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if _, err := conn.Write(message); err != nil {
		return err
	}
	_, err = fmt.Fprintf(accessLog, "[client %d]: received %d bytes\n", client, len(message))
	return err
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: peer PORT LOG")
	}
	accessLog, err := os.OpenFile(os.Args[2], os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "0.0.0.0:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for client := 1; ; client++ {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func(client int) {
			if err := serve(conn, client, accessLog); err != nil {
				log.Printf("client %d: %v", client, err)
			}
		}(client)
	}
}
