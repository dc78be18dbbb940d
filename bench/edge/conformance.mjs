// Runs the cache-tests suite, or its origin; conformance.py starts both.
//
//   node conformance.mjs origin SUITE PORT     the suite's own origin, on loopback only
//   node conformance.mjs run SUITE BASE-URL    one JSON object: {test: {suite, kind, result, why}}
//
// result: pass, fail (the suite's word for a kind "required" that did the wrong thing; for the other
// kinds: no), setup (the test could not be carried out), depends (a test that it builds on did not
// pass), harness (the client could not understand the answer).
import { createRequire } from 'node:module'
import { Server } from 'node:net'
import path from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'

const [mode, suite, where] = process.argv.slice(2)
const load = file => import(pathToFileURL(path.resolve(suite, file)).href)

async function origin () {
  const listen = Server.prototype.listen
  Server.prototype.listen = function (port) { return listen.call(this, port, '127.0.0.1') }
  Object.assign(process.env, {
    npm_config_protocol: 'http',
    npm_config_port: where,
    npm_config_pidfile: '/dev/null'
  })
  await load('server/server.mjs')
}

function outcome (id, tests, results) {
  const test = tests.get(id)
  const result = results[id]
  for (const other of test.depends_on || []) {
    if (outcome(other, tests, results) !== 'pass') return 'depends'
  }
  if (result === true) return 'pass'
  if (result === undefined) return 'harness'
  return { Setup: 'setup', Assertion: 'fail' }[result[0]] || 'harness'
}

async function run () {
  const suites = (await load('tests/index.mjs')).default
  const { runTests, getResults } = await load('client/runner.mjs')
  const fetch = createRequire(path.resolve(suite, 'cli.mjs'))('node-fetch')
  const tests = new Map()
  for (const group of suites) {
    for (const test of group.tests) {
      if (!test.browser_only) tests.set(test.id, { ...test, suite: group.id })
    }
  }
  await runTests(suites, fetch, false, where)
  const results = getResults()
  const report = {}
  for (const [id, test] of tests) {
    report[id] = {
      suite: test.suite,
      kind: test.kind || 'required',
      result: outcome(id, tests, results),
      why: results[id] === true ? '' : (results[id] || ['', 'did not run'])[1]
    }
  }
  console.log(JSON.stringify(report))
}

await { origin, run }[mode]()
