import * as z from 'zod';
import { errorResponse, parseBody, readJson, requireMethod } from '../arm/errors.ts';
import { DEFAULT_LIFETIME_SECONDS, ROLES, type Tokens } from './tokens.ts';

const LONGEST_SECONDS = 24 * 3600;

const bodySchema = z.strictObject({
  roles: z.array(z.enum(ROLES, `must be one of '${ROLES.join("', '")}'`), 'must be a list of roles'),
  subject: z.string().min(1).max(256).default('local-user'),
  expiresInSeconds: z.int().min(1).max(LONGEST_SECONDS).default(DEFAULT_LIFETIME_SECONDS),
});

/**
 * `POST /local/token {"roles":["Backup Contributor"]}`: a token for whoever asks, since all of the platform is its one
 * user's and listens on loopback alone. An empty list of roles gives a token that may do nothing.
 */
export async function serveLocalToken(request: Request, tokens: Tokens): Promise<Response> {
  try {
    requireMethod(request, ['POST']);
    const { roles, subject, expiresInSeconds } = parseBody(bodySchema, await readJson(request));
    const token = await tokens.mint({ roles, subject, expiresInSeconds });
    return Response.json(
      { access_token: token, token_type: 'Bearer', expires_in: expiresInSeconds },
      { headers: { 'cache-control': 'no-store' } },
    );
  } catch (error) {
    return errorResponse(error);
  }
}
