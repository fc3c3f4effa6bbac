import { expect, it } from "vitest";
import { isa, Machine } from "./harness.ts";

const { Assert, FaultCode } = isa;

it.each([
  [[0, 0, 0, 0, 0], undefined],
  [[0, 0, 7, 0, -1], 2],
  [[1], 0],
  [[], undefined],
])("asserts of %j that all are 0", (values, where) => {
  const m = new Machine();
  const out = m.alloc(values.length * 4);
  const ip = m.instruction(isa.Opcode.Assert, Assert.Length, 1, {
    [Assert.Out]: out,
    [Assert.In]: m.i32(values),
    [Assert.N]: values.length,
    [Assert.Code]: FaultCode.NonFinite,
  });
  m.run(ip);
  m.checkGuards();
  expect([...m.readI32(out, values.length)]).toEqual(values);
  if (where === undefined) expect(m.fault().code).toBe(FaultCode.None);
  else expect(m.fault()).toEqual({ code: FaultCode.NonFinite, ip, where, value: values[where], bound: 0 });
});
