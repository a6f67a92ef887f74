// nhooyr.io/websocket on net/http as its documentation uses it: one goroutine a connection, a message
// at a time.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"nhooyr.io/websocket"
)

func serve(w http.ResponseWriter, r *http.Request) {
	options := &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled}
	conn, err := websocket.Accept(w, r, options)
	if err != nil {
		return
	}
	defer conn.Close(websocket.StatusInternalError, "")
	// The default, 32 KiB, is too little for the longest messages of the comparison.
	conn.SetReadLimit(16 << 20)
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "HOST:PORT")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	// Go sets TCP_NODELAY on what it accepts.
	fmt.Printf("listening on %s (nhooyr.io/websocket)\n", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(serve)))
}
