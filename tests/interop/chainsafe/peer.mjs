// ChainSafe's yamux (js-libp2p) as the other end: peer.mjs MODULE PORT client|server TASK.
// TASK serve answers what we open; the others open streams themselves and print one line of JSON.
import { createHash } from 'node:crypto'
import net from 'node:net'

// Node 20 lacks what the library takes for granted.
Promise.withResolvers ??= () => {
  const all = {}
  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }))
  return all
}
const { yamux } = await import(new URL(process.argv[2], 'file:').href)
const [port, role, task] = process.argv.slice(3)

const log = Object.assign(() => {}, { error () {}, trace () {}, newScope: () => log })
const socket = net.connect(Number(port), '127.0.0.1')

class Link extends EventTarget {
  direction = role === 'client' ? 'outbound' : 'inbound'
  log = log
  send (data) { return socket.write(data.subarray()) }
  abort () { socket.destroy() }
  async close () { socket.end() }
}
const link = new Link()
const tell = (name, fields) => link.dispatchEvent(Object.assign(new Event(name), fields))
socket.on('data', data => tell('message', { data }))
socket.on('drain', () => tell('drain'))
socket.on('close', () => tell('close'))
socket.on('error', () => process.exit(1))
const muxer = yamux({ enableKeepAlive: false, streamOptions: { maxReadBufferLength: 64 << 20 } })().createStreamMuxer(link)

class Reader { // of one stream: bytes in order, null at its end
  pieces = []; wake = () => {}; ended = false
  constructor (stream) {
    this.stream = stream
    stream.addEventListener('message', e => { this.pieces.push(Buffer.from(e.data.subarray())); this.wake() })
    for (const name of ['remoteCloseWrite', 'close', 'end']) stream.addEventListener(name, () => { this.ended = true; this.wake() })
  }

  async next () {
    while (this.pieces.length === 0) {
      if (this.ended) return null
      await new Promise(resolve => { this.wake = resolve })
    }
    return this.pieces.shift()
  }

  async exactly (size) {
    const out = []
    for (let have = 0; have < size;) {
      const piece = await this.next()
      if (piece === null) throw new Error(`ended after ${have} of ${size} bytes`)
      const part = piece.subarray(0, size - have)
      if (part.length < piece.length) this.pieces.unshift(piece.subarray(part.length))
      out.push(part)
      have += part.length
    }
    return Buffer.concat(out)
  }

  async all () {
    const out = []
    for (let piece; (piece = await this.next()) !== null;) out.push(piece)
    return Buffer.concat(out)
  }
}

async function write (stream, data) {
  if (!stream.send(data)) await stream.onDrain()
  await new Promise(setImmediate) // send() says true while it only queues: let the socket be read
}

async function serve (stream) {
  const reader = new Reader(stream)
  const command = String.fromCharCode((await reader.exactly(1))[0])
  if (command === 'E' || command === 'G') {
    if (command === 'G') muxer.sendGoAway(0)
    for (let piece; (piece = await reader.next()) !== null;) await write(stream, piece)
    await stream.close()
  } else if (command === 'S') {
    const digest = createHash('sha256')
    let size = 0
    for (let piece; (piece = await reader.next()) !== null;) { digest.update(piece); size += piece.length }
    await write(stream, Buffer.from(`${size} ${digest.digest('hex')}`))
    await stream.close()
  } else if (command === 'F') {
    const block = Buffer.alloc(65536)
    while (stream.status === 'open' && stream.writeStatus === 'writable') await write(stream, block)
  } else if (command === 'R') {
    stream.abort(new Error('given up'))
  }
}

async function streams (count) {
  const all = await Promise.all(Array.from({ length: count }, () => muxer.createStream()))
  await Promise.all(all.map(async (stream, i) => {
    const reader = new Reader(stream)
    const message = Buffer.alloc(4096, i & 255)
    await write(stream, Buffer.concat([Buffer.from('E'), message]))
    if (!(await reader.exactly(4096)).equals(message)) throw new Error('not what was sent')
    await stream.close()
    if ((await reader.all()).length !== 0) throw new Error('bytes too many')
  }))
}

const tasks = {
  async streams () {
    await streams(1000)
    return { ping: await muxer.ping() }
  },
  async bulk () {
    const size = 100_000_000
    const stream = await muxer.createStream()
    const reader = new Reader(stream)
    const digest = createHash('sha256')
    await write(stream, Buffer.from('S'))
    for (let sent = 0; sent < size;) {
      const block = Buffer.alloc(Math.min(65536, size - sent), (sent >> 16) & 255)
      digest.update(block)
      await write(stream, block)
      sent += block.length
    }
    await stream.close()
    const said = (await reader.all()).toString()
    if (said !== `${size} ${digest.digest('hex')}`) throw new Error(`they got ${said}`)
    return { said }
  },
  async reset () {
    const flood = await muxer.createStream()
    const reader = new Reader(flood)
    await write(flood, Buffer.from('F'))
    await reader.exactly(1 << 20)
    flood.abort(new Error('enough'))
    await streams(10)
    return {}
  },
  async goaway () {
    const stream = await muxer.createStream()
    const reader = new Reader(stream)
    await write(stream, Buffer.from('Ebefore'))
    await reader.exactly(6)
    muxer.sendGoAway(0)
    await write(stream, Buffer.from(' after'))
    const got = (await reader.exactly(6)).toString()
    await stream.close()
    return { got }
  }
}

if (task === 'serve') {
  muxer.addEventListener('stream', e => { serve(e.detail).catch(() => {}) })
} else {
  const result = await tasks[task]()
  console.log(JSON.stringify({ ok: true, ...result }))
  await new Promise(resolve => setTimeout(resolve, 50))
  socket.end()
}
