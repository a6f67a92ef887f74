// uWebSockets, set up as its own example EchoServer.cpp: echo --listen HOST:PORT [--broadcast]
//
// The limits are the example's; compression is off, as for everyone here.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "App.h"

struct Nothing {};

int main(int argc, char **argv) {
    std::string address = "127.0.0.1:0";
    bool broadcast = false;
    for (int i = 1; i < argc; i++) {
        if (!std::strcmp(argv[i], "--broadcast")) broadcast = true;
        else if (!std::strcmp(argv[i], "--listen") && i + 1 < argc) address = argv[++i];
        else return std::fprintf(stderr, "unknown argument %s\n", argv[i]), 2;
    }
    auto colon = address.rfind(':');
    std::string host = address.substr(0, colon);
    int port = std::atoi(address.c_str() + colon + 1);

    uWS::App app;
    app.ws<Nothing>("/*", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 100 * 1024 * 1024,
        .idleTimeout = 16,
        .maxBackpressure = 100 * 1024 * 1024,
        .open = [broadcast](auto *ws) {
            if (broadcast) ws->subscribe("all");
        },
        .message = [broadcast, &app](auto *ws, std::string_view message, uWS::OpCode opcode) {
            if (broadcast) app.publish("all", message, opcode);
            else ws->send(message, opcode);
        },
    }).listen(host, port, [&host](auto *socket) {
        if (!socket) std::exit(1);
        int port = us_socket_local_port(0, (us_socket_t *) socket);
        std::printf("listening on %s:%d (uWebSockets, epoll)\n", host.c_str(), port);
        std::fflush(stdout);
    }).run();
}
