/** socket.io as its documentation shows it: a room for each topic. Argument: the port. */
import { createServer } from "node:http";
import { Server } from "socket.io";
import { AUTH } from "../target.ts";

const http = createServer();
const server = new Server(http, { transports: ["websocket"] });
server.use((socket, next) => {
  next(socket.handshake.auth.token === AUTH ? undefined : new Error("The token is not right"));
});
server.on("connection", (socket) => {
  socket.on("subscribe", (topic, done) => {
    socket.join(topic);
    done();
  });
  socket.on("publish", (topic, data) => socket.to(topic).emit("message", data));
});
http.listen(Number(Deno.args[0]), "127.0.0.1");
