// A tus client that others wrote (tus-js-client) brings the files of a run, the first of them interrupted and resumed in a new upload object.
'use strict'
const fs = require('fs')
const path = require('path')
const crypto = require('crypto')
const tus = require('tus-js-client')

const [endpoint, token, serverId, folder] = process.argv.slice(2)
const run = path.basename(folder)
const headers = { Authorization: `Bearer ${token}`, 'Holdfast-Server-Id': serverId }

function upload(file, options) {
  const bytes = fs.readFileSync(path.join(folder, file))
  const sha256 = crypto.createHash('sha256').update(bytes).digest('hex')
  return new Promise((resolve, reject) => {
    const made = new tus.Upload(bytes, {
      endpoint,
      headers,
      retryDelays: [0, 100, 1000],
      metadata: { run_id: run, filename: file, sha256 },
      onError: reject,
      onSuccess: () => resolve(made.url),
      ...options(bytes, () => made, resolve),
    })
    made.start()
  })
}

async function main() {
  const files = fs.readdirSync(folder).sort((a, b) => (a === 'manifest.json') - (b === 'manifest.json'))
  for (const file of files) {
    const size = fs.statSync(path.join(folder, file)).size
    // Begun, and stopped after its first part; then taken up by its address alone.
    const url = await upload(file, (bytes, made, resolve) => ({
      chunkSize: Math.max(1, Math.floor(size / 3)),
      onChunkComplete: (_, accepted) => {
        if (accepted < size) made().abort().then(() => resolve(made().url))
      },
    }))
    await upload(file, () => ({ uploadUrl: url, uploadDataDuringCreation: true }))
    console.log(`brought ${file}`)
  }
  // One that is created with its bytes, and then terminated by its address.
  const other = await new Promise((resolve, reject) => {
    const bytes = Buffer.from('to be taken back')
    const sha256 = crypto.createHash('sha256').update(bytes).digest('hex')
    const made = new tus.Upload(bytes, {
      endpoint,
      headers,
      uploadDataDuringCreation: true,
      metadata: { run_id: '20260101-000000-000001', filename: 'x', sha256 },
      onError: reject,
      onSuccess: () => resolve(made.url),
    })
    made.start()
  })
  await tus.Upload.terminate(other, { headers, retryDelays: [] })
  console.log('terminated')
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
