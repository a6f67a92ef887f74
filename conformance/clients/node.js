// The `ws` package from npm against an echo server. Prints TAP.
//
//     NODE_PATH=…/node_modules node node.js ws://127.0.0.1:PORT

"use strict";

const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const { once } = require("node:events");
const WebSocket = require("ws");

const URL = process.argv[2];
const SECONDS_MAX = 60;
const LENGTHS = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 8 << 20];

const checks = {
  async "binary of every length comes back whole"() {
    const ws = await open();
    for (const length of LENGTHS) {
      const sent = randomBytes(length);
      ws.send(sent);
      const [data, isBinary] = await once(ws, "message");
      assert(isBinary && sent.equals(data), `${length} bytes`);
    }
    await close(ws);
  },

  async "text in any script comes back whole"() {
    const ws = await open();
    for (const text of ["", "plain", "Grüße, 世界 🦀", "\0\x7f\x80\uffff\u{10ffff}", "é".repeat(70_000)]) {
      ws.send(text);
      const [data, isBinary] = await once(ws, "message");
      assert(!isBinary);
      assert.equal(data.toString(), text);
    }
    await close(ws);
  },

  async "fragments become one message, with a ping in between"() {
    const ws = await open();
    ws.send("one ", { fin: false });
    ws.send("two ", { fin: false });
    ws.ping("in between");
    const [payload] = await once(ws, "pong");
    assert.equal(payload.toString(), "in between");
    ws.send("three", { fin: true });
    const [data] = await once(ws, "message");
    assert.equal(data.toString(), "one two three");
    await close(ws);
  },

  async "five thousand messages in flight keep their order"() {
    const ws = await open();
    const seen = [];
    const done = new Promise((resolve) => {
      ws.on("message", (data) => seen.push(Number(data)) === 5000 && resolve());
    });
    for (let number = 0; number < 5000; number++) ws.send(String(number));
    await done;
    assert.deepEqual(seen, [...Array(5000).keys()]);
    await close(ws);
  },

  async "a reader that pauses gets everything"() {
    const ws = await open();
    const sent = Array.from({ length: 64 }, () => randomBytes(256 << 10));
    const seen = [];
    const done = new Promise((resolve) => {
      ws.on("message", (data) => seen.push(data) === sent.length && resolve());
    });
    ws.pause();
    for (const message of sent) ws.send(message);
    setTimeout(() => ws.resume(), 1000);
    await done;
    assert(sent.every((message, index) => message.equals(seen[index])));
    await close(ws);
  },

  async "a hundred connections do not mix"() {
    await Promise.all(
      [...Array(100).keys()].map(async (me) => {
        const ws = await open();
        for (let turn = 0; turn < 50; turn++) {
          ws.send(`${me}/${turn}`);
          const [data] = await once(ws, "message");
          assert.equal(data.toString(), `${me}/${turn}`);
        }
        await close(ws);
      }),
    );
  },

  async "a close is answered with its code"() {
    for (const code of [1000, 1001, 3000, 4999]) await close(await open(), code, "because 🦀");
  },

  async "a socket that is torn off hurts nobody"() {
    const bystander = await open();
    for (let turn = 0; turn < 20; turn++) {
      const ws = await open();
      ws.send(randomBytes(100_000));
      ws.terminate();
    }
    bystander.send("still here");
    const [data] = await once(bystander, "message");
    assert.equal(data.toString(), "still here");
    await close(bystander);
  },
};

async function open() {
  const ws = new WebSocket(URL, { maxPayload: 0 });
  await once(ws, "open");
  return ws;
}

async function close(ws, code = 1000, reason = "") {
  ws.close(code, reason);
  const [answered] = await once(ws, "close");
  assert.equal(answered, code);
}

function deadline() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`not done after ${SECONDS_MAX} s`)), SECONDS_MAX * 1000);
  });
}

async function main() {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await Promise.race([check(), deadline()]);
      console.log(`ok - ${name}`);
    } catch (why) {
      console.log(`not ok - ${name} # ${String(why).replaceAll("\n", " ")}`);
    }
  }
  console.log(`1..${Object.keys(checks).length}`);
  process.exit();
}

main();
