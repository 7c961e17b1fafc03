// It verifies the bearer, looks the user up and asks Telnyx, for every request.
import { readFileSync } from 'node:fs'
import express from 'express'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import Telnyx from 'telnyx'

const { OIDC_ISSUER, OIDC_AUDIENCE, TELNYX_API_KEY, TELNYX_BASE_URL, USERS_FILE, LISTEN } = process.env
const telnyx = new Telnyx({ apiKey: TELNYX_API_KEY, baseURL: TELNYX_BASE_URL })
const users = JSON.parse(readFileSync(USERS_FILE, 'utf8')) // to the id of their credential
const discovered = await (await fetch(`${OIDC_ISSUER}/.well-known/openid-configuration`)).json()
const keys = createRemoteJWKSet(new URL(discovered.jwks_uri))

const app = express()

app.post('/v1/token', async (req, res) => {
  const [scheme, bearer] = (req.get('authorization') ?? '').split(' ')
  if (scheme !== 'Bearer' || !bearer) return res.status(401).json({ error: 'no bearer' })
  let verified
  try {
    verified = await jwtVerify(bearer, keys, { issuer: OIDC_ISSUER, audience: OIDC_AUDIENCE, algorithms: ['RS256'] })
  } catch {
    return res.status(401).json({ error: 'the bearer does not verify' })
  }
  const credential = users[verified.payload.sub]
  if (!credential) return res.status(403).json({ error: 'no credential' })
  try {
    res.json({ token: await telnyx.telephonyCredentials.createToken(credential) })
  } catch (err) {
    console.error(err.message)
    res.status(502).json({ error: 'no token' })
  }
})

const [host, port] = LISTEN.split(':')
app.listen(Number(port), host)
