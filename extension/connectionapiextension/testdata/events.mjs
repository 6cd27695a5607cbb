// Follows server-sent events as the WHATWG's standard has them, over a unix socket, with
// nothing but Node.js: node events.mjs SOCKET COUNT [LAST-EVENT-ID]. A line for each:
// id, event and the verdict.
import http from "node:http";
import readline from "node:readline";

const [socketPath, count, last] = process.argv.slice(2);
const headers = { accept: "text/event-stream" };
if (last) headers["last-event-id"] = last;

const request = http.get({ socketPath, path: "/v1/events", headers }, async (response) => {
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
  console.log("open");
  let id = "", event = "message", data = [], left = Number(count);
  for await (const line of readline.createInterface({ input: response })) {
    if (line === "") {
      if (data.length > 0) {
        const { attributes = {}, lost } = JSON.parse(data.join("\n"));
        console.log(id, event, attributes["weir.verdict"] ?? lost);
        if (--left === 0) break;
      }
      [event, data] = ["message", []];
      continue;
    }
    if (line.startsWith(":")) continue;
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "id") id = value;
    else if (field === "event") event = value;
    else if (field === "data") data.push(value);
    else throw new Error(`unknown field ${field}`);
  }
  request.destroy();
});
