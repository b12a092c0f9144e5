import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ROLES, requireRole, type Role } from '../../shared/arm/callers.ts';
import { findRoute, matchTemplate, segmentsOf } from '../../shared/arm/route.ts';
import { ROUTES } from '../../shared/arm/routes.ts';
import { ERROR_TABLE } from '../../shared/domain/errors.ts';

const V = '/subscriptions/s/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/v1';
const I = `${V}/backupFabrics/Azure/protectionContainers/IaasVMContainer;iaasvmcontainerv2;g;vm/protectedItems/VM;iaasvmcontainerv2;g;vm`;
const find = (method: string, path: string) => findRoute(ROUTES, method, segmentsOf(path) ?? []);
const paramsOf = (method: string, path: string) => {
  const found = find(method, path);
  return found !== undefined && 'params' in found ? found.params : undefined;
};

describe('paths', () => {
  it.each([V, V.toUpperCase(), `${V}/`, V.replaceAll('/', '//'), V.replace('v1', '%76%31')])(
    '%s is the vault, however it is spelled',
    (path) => {
      expect(paramsOf('GET', path)?.['vault']?.toLowerCase()).toBe('v1');
    },
  );

  it('decodes names and keeps their case', () => {
    const path = I.replaceAll(';', '%3B').replace('/vm', '/VM');
    expect(paramsOf('GET', path)).toMatchObject({
      container: 'IaasVMContainer;iaasvmcontainerv2;g;vm',
      item: 'VM;iaasvmcontainerv2;g;vm',
    });
  });

  it('a list with a slash at its end is the list, not a resource without a name', () => {
    expect(paramsOf('GET', `${V}/backupPolicies/`)).not.toHaveProperty('policy');
    expect(paramsOf('GET', `${I}/recoveryPoints/`)).not.toHaveProperty('point');
  });

  it('an encoded slash stays in its segment', () => {
    expect(segmentsOf('/a/b%2Fc')).toEqual(['a', 'b/c']);
    expect(segmentsOf('/a/%zz')).toBeUndefined();
  });

  it('literals come before nothing else: each method and path has one route', () => {
    for (const { method, template } of ROUTES) {
      const path = segmentsOf(template.replaceAll(/\{(\w+)\}/g, 'some-$1')) ?? [];
      const matching = ROUTES.filter(
        (other) => other.method === method && matchTemplate(other.template, path) !== undefined,
      );
      expect(matching.map((other) => other.template)).toEqual([template]);
    }
  });

  it('tells an unknown path from a method that a path does not have', () => {
    expect(find('GET', `${V}/backupNothings`)).toBeUndefined();
    expect(find('GET', `${V}/backupFabrics/Other/refreshContainers`)).toBeUndefined();
    expect(find('POST', V)).toEqual({ allowed: ['GET', 'PUT', 'PATCH', 'DELETE'] });
    expect(find('GET', `${I}/backup`)).toEqual({ allowed: ['POST'] });
  });
});

describe('what a route says', () => {
  it.each(ROUTES.map((each) => [`${each.method} ${each.template.split('/').slice(-2).join('/')}`, each] as const))(
    '%s can be described: by names, query and body as JSON schema, and by what is answered',
    (_name, { params, query, body, answers, summary, refusal, template }) => {
      const describe = (schema: z.ZodType) => z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
      const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      expect(Object.keys(describe(params).properties ?? {})).toEqual(names);
      for (const each of Object.values(describe(query).properties ?? {}))
        expect(each).toMatchObject({ type: 'string' });
      if (body !== undefined) expect(describe(body)).toMatchObject({ type: 'object' });
      expect(summary.length).toBeGreaterThan(5);
      if (refusal === undefined) expect(Object.keys(answers).length).toBeGreaterThan(0);
    },
  );
});

describe('what is refused', () => {
  const refusedRoutes = ROUTES.filter(({ refusal }) => refusal !== undefined);

  it('has the status of its code, and a reason', () => {
    expect(refusedRoutes.length).toBeGreaterThan(25);
    for (const { template, refusal } of refusedRoutes) {
      expect([template, refusal!.status]).toEqual([template, ERROR_TABLE[refusal!.code].http]);
      expect(refusal!.why.length).toBeGreaterThan(20);
    }
  });

  it('does not count among the methods that a path has', () => {
    expect(find('PUT', `${V}/privateEndpointConnections/e`)).toMatchObject({ allowed: ['DELETE'] });
    expect(find('PATCH', `${V}/privateEndpointConnections/e`)).toEqual({ allowed: ['DELETE'] });
    expect(find('DELETE', `${V}/certificates/c`)).toBeUndefined();
  });
});

describe('who may do what', () => {
  const roleOf = (method: string, path: string): Role | undefined => {
    const found = find(method, path);
    return found !== undefined && 'route' in found ? found.route.role : undefined;
  };

  it('readers read: no route with GET asks for more, and none that changes anything asks for less', () => {
    const status = ['backupStatus', 'backupCrrJobs', 'backupValidateFeatures', 'checkNameAvailability', 'capabilities'];
    for (const { method, template, role } of ROUTES) {
      const reads = method === 'GET' || status.some((name) => template.endsWith(name));
      expect([template, role === 'Backup Reader']).toEqual([template, reads]);
    }
  });

  it.each<[string, string, Role]>([
    ['PUT', V, 'Backup Contributor'],
    ['PATCH', V, 'Backup Contributor'],
    ['DELETE', V, 'Backup Contributor'],
    ['PUT', `${V}/backupPolicies/p`, 'Backup Contributor'],
    ['DELETE', `${V}/backupPolicies/p`, 'Backup Contributor'],
    ['DELETE', I, 'Backup Contributor'],
    ['PUT', I, 'Backup Operator'],
    ['POST', `${I}/backup`, 'Backup Operator'],
    ['POST', `${I}/recoveryPoints/1/restore`, 'Backup Operator'],
    ['POST', `${V}/backupJobs/j/cancel`, 'Backup Operator'],
    ['POST', `${V}/backupFabrics/Azure/refreshContainers`, 'Backup Operator'],
  ])('%s %s needs %s', (method, path, role) => expect(roleOf(method, path)).toBe(role));

  it('a role may do what those before it may, and no more', () => {
    for (const [has, own] of ROLES.entries()) {
      for (const [needs, needed] of ROLES.entries()) {
        const ask = () => requireRole({ name: 'a', roles: [own] }, needed, 'this');
        if (has >= needs) expect(ask).not.toThrow();
        else expect(ask).toThrow(new RegExp(`needs the app role "${needed}"; .* has "${own}"`));
      }
      expect(() => requireRole({ name: 'a', roles: [] }, own, 'this')).toThrow(/none of the backup roles/);
    }
  });
});
