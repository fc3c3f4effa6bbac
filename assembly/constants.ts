// Constants the kernels load from memory. V8 rematerialises vector constants written in the code inside loops, which
// costs 2-4x; a load_splat of a known address does not.
import { Memory } from "./isa";

/** Quotients up to it take the short ways of sine and remainder: exact together with 27 more bits. */
export const LIMIT: f64 = 4194304;

/** Place of a 64-bit constant, in units of 8 bytes from Memory.Constants; see `writeConstants` for what they are. */
export enum K {
  One,
  Unit,
  Three,
  Limit,
  Log2e,
  Ln2,
  RoundBias,
  Exp0,
  Exp1,
  Exp2,
  Exp3,
  Exp4,
  Exp5,
  Exp6,
  LogBias,
  LogHalf,
  LogMantissa,
  LogField,
  LogUnbias,
  Log0,
  Log1,
  Log2,
  Log3,
  Log4,
  Log5,
  TwoOverPi,
  HalfPiHigh,
  HalfPiLow,
  Sin0,
  Sin1,
  Sin2,
  Sin3,
  Sin4,
  Cos0,
  Cos1,
  Cos2,
  Cos3,
  Cos4,
  Atan0,
  Atan1,
  Atan2,
  Atan3,
  Atan4,
  Atan5,
  Atan6,
  Atan7,
  Atan8,
  Atan9,
  Atan10,
  Atan11,
  HalfPi,
  Pi,
  Asin0,
  Asin1,
  Asin2,
  Asin3,
  Asin4,
  Asin5,
  Asin6,
  Asin7,
  Asin8,
  ErfP0,
  ErfP1,
  ErfP2,
  ErfP3,
  ErfP4,
  ErfP5,
  ErfP6,
  ErfQ1,
  ErfQ2,
  ErfQ3,
  ErfQ4,
  ErfQ5,
  // float32, in the first half of their places.
  SingleOne,
  SingleHalf,
  SingleLog2e,
  SingleRoundBias,
  Ln2High,
  Ln2Low,
  SingleExp2,
  SingleExp3,
  SingleExp4,
  SingleExp5,
  SingleExp6,
  Tanh0,
  Tanh1,
  Tanh2,
  Tanh3,
  Tanh4,
  SingleLog0,
  SingleLog1,
  SingleLog2,
  SingleLog3,
  SingleLog4,
  SingleLog5,
  SingleLog6,
  SingleLog7,
  LogLn2High,
  LogLn2Low,
  /** Bits: of 1 less those of sqrt(1/2), of a mantissa, of sqrt(1/2). */
  LogShift,
  MantissaMask,
  RootHalf,
  TailP0,
  TailP1,
  TailP2,
  TailP3,
  TailP4,
  TailP5,
  TailQ1,
  TailQ2,
  TailQ3,
  TailQ4,
  TailQ5,
  TailQ6,
  InverseRoot2Pi,
  ExpLeast,
  ExpMost,
  ExponentMask,
  FilterA,
  FilterB,
  FilterA3,
  FilterB3,
  FilterHalf,
  FilterTwo,
  FilterSum,
  /** 224 bits of 2/pi, least significant word first. */
  TwoOverPiBits,
}

// @ts-ignore: decorator
@inline
function put(at: K, value: f64): void {
  store<f64>(Memory.Constants + at * 8, value);
}

// @ts-ignore: decorator
@inline
function putBits(at: K, bits: u64): void {
  store<u64>(Memory.Constants + at * 8, bits);
}

// @ts-ignore: decorator
@inline
function putSingle(at: K, value: f32): void {
  store<f32>(Memory.Constants + at * 8, value);
}

/**
 * Writes all constants at Memory.Constants. The owner of the memory calls this once, before any kernel runs.
 * The polynomials and rationals are minimax fits of the relative error, made for these kernels with Remez's exchange
 * (the rationals with Lawson's reweighting) in 50 digits; the error stated is that of the exact fit.
 */
export function writeConstants(): void {
  put(K.One, 1);
  putBits(K.Unit, 1);
  putBits(K.Three, 3);
  put(K.Limit, LIMIT);
  put(K.Log2e, 1.4426950408889634);
  put(K.Ln2, 0.6931471805599453);
  put(K.RoundBias, 6755399441055744); // 1.5 * 2^52: adding it rounds to an integer, which the low bits then hold

  // (e^r - 1) / r for |r| <= ln(2)/2: 2.3e-10
  put(K.Exp0, 1.0000000000312124);
  put(K.Exp1, 0.5000000046679716);
  put(K.Exp2, 0.1666666624923203);
  put(K.Exp3, 0.041666354329070614);
  put(K.Exp4, 0.008333402977478761);
  put(K.Exp5, 0.0013941015066374369);
  put(K.Exp6, 0.00019841219160685736);

  // Bits that bring a mantissa to [sqrt(1/2), sqrt(2)) and take its exponent as a float64.
  putBits(K.LogBias, 0x3ff0000000000000 - 0x3fe6a09e667f3bcd);
  putBits(K.LogHalf, 0x3fe6a09e667f3bcd);
  putBits(K.LogMantissa, 0x000fffffffffffff);
  putBits(K.LogField, 0x4330000000000000);
  put(K.LogUnbias, 4503599627370496 + 1023);
  // 2 artanh(s) / s in s^2 for |s| <= 3 - sqrt(8): 2.7e-14
  put(K.Log0, 1.9999999999999467);
  put(K.Log1, 0.6666666667965797);
  put(K.Log2, 0.3999999487010488);
  put(K.Log3, 0.28572168243433393);
  put(K.Log4, 0.2217416730078412);
  put(K.Log5, 0.19609233893106745);

  put(K.TwoOverPi, 0.6366197723675814);
  putBits(K.HalfPiHigh, 0x3ff921fb54000000); // pi/2 to 27 bits: a product with a 26-bit integer is exact
  put(K.HalfPiLow, 9.920935796805404e-10);
  // sin(r) / r and cos(r) in r^2 for |r| <= pi/4: 4.6e-12, 5.6e-11
  put(K.Sin0, 0.9999999999954491);
  put(K.Sin1, -0.16666666630431956);
  put(K.Sin2, 0.008333328688758709);
  put(K.Sin3, -0.0001983917793901101);
  put(K.Sin4, 2.717148980059704e-6);
  put(K.Cos0, 0.9999999999439297);
  put(K.Cos1, -0.49999999571410664);
  put(K.Cos2, 0.04166661321815395);
  put(K.Cos3, -0.0013886528675921843);
  put(K.Cos4, 2.4372635437680342e-5);

  // atan(t) / t in t^2 for t <= 1: 5.9e-11
  put(K.Atan0, 0.9999999999412473);
  put(K.Atan1, -0.33333331571003894);
  put(K.Atan2, 0.199999120446716);
  put(K.Atan3, -0.1428398068089131);
  put(K.Atan4, 0.11093240786908434);
  put(K.Atan5, -0.08980237392982274);
  put(K.Atan6, 0.07245714316305205);
  put(K.Atan7, -0.05427904459182152);
  put(K.Atan8, 0.03420954145863498);
  put(K.Atan9, -0.01611163414823515);
  put(K.Atan10, 0.004850914636900042);
  put(K.Atan11, -0.0006847889754992242);
  put(K.HalfPi, 1.5707963267948966);
  put(K.Pi, 3.141592653589793);
  // asin(s) / s in s^2 for s <= 1/2: 9.2e-13
  put(K.Asin0, 1.0000000000009146);
  put(K.Asin1, 0.1666666660864254);
  put(K.Asin2, 0.07500006048460492);
  put(K.Asin3, 0.044640438212341274);
  put(K.Asin4, 0.03043011738584333);
  put(K.Asin5, 0.02183861240546532);
  put(K.Asin6, 0.020762617881472264);
  put(K.Asin7, 0.0017148503179789214);
  put(K.Asin8, 0.03315893104434849);

  // erf(x) / x = P/Q in x^2 for |x| <= 4: 2.0e-9
  put(K.ErfP0, 1.1283791693828418);
  put(K.ErfP1, 0.18520224320568704);
  put(K.ErfP2, 0.05431743069997913);
  put(K.ErfP3, 0.0038496572927622613);
  put(K.ErfP4, 0.00037963642576951175);
  put(K.ErfP5, 4.685527655544113e-6);
  put(K.ErfP6, -1.3206006267079976e-8);
  put(K.ErfQ1, 0.4974646285715572);
  put(K.ErfQ2, 0.11395858656827436);
  put(K.ErfQ3, 0.015462275462249247);
  put(K.ErfQ4, 0.001307616503843756);
  put(K.ErfQ5, 6.311772209047769e-5);
  // exp(x^2/2) times the upper tail of the normal distribution at x, P/Q in x for 0 <= x <= 14.5: 8.2e-11
  putSingle(K.TailP0, 0.4999999999587945);
  putSingle(K.TailP1, 0.5072819502877893);
  putSingle(K.TailP2, 0.25034562972835395);
  putSingle(K.TailP3, 0.07121291324302281);
  putSingle(K.TailP4, 0.011621710037259486);
  putSingle(K.TailP5, 0.0008872889964009206);
  putSingle(K.TailQ1, 1.8124484534768626);
  putSingle(K.TailQ2, 1.4468160195174267);
  putSingle(K.TailQ3, 0.6565545506267237);
  putSingle(K.TailQ4, 0.18073404559466436);
  putSingle(K.TailQ5, 0.029131118107595205);
  putSingle(K.TailQ6, 0.002224106503717728);

  putSingle(K.SingleOne, 1);
  putSingle(K.SingleHalf, 0.5);
  putSingle(K.Tanh0, -0.333332819422);
  putSingle(K.Tanh1, 0.133314422036);
  putSingle(K.Tanh2, -0.0537397155531);
  putSingle(K.Tanh3, 0.0206390887954);
  putSingle(K.Tanh4, -0.00570498872745);
  // (log(1 + f) - f + f^2 / 2) / f^3
  putSingle(K.SingleLog0, 0.3333333134651184);
  putSingle(K.SingleLog1, -0.250008225440979);
  putSingle(K.SingleLog2, 0.20001226663589478);
  putSingle(K.SingleLog3, -0.16623352468013763);
  putSingle(K.SingleLog4, 0.1420174092054367);
  putSingle(K.SingleLog5, -0.1316022127866745);
  putSingle(K.SingleLog6, 0.1276172697544098);
  putSingle(K.SingleLog7, -0.07634584605693817);
  putSingle(K.LogLn2High, 0.693359375);
  putSingle(K.LogLn2Low, -0.000212194440054690583);
  store<u32>(Memory.Constants + K.LogShift * 8, 0x004afb0d);
  store<u32>(Memory.Constants + K.MantissaMask * 8, 0x007fffff);
  store<u32>(Memory.Constants + K.RootHalf * 8, 0x3f3504f3);
  putSingle(K.InverseRoot2Pi, 0.3989422804014327);
  putSingle(K.SingleLog2e, 1.4426950408889634);
  putSingle(K.SingleRoundBias, 12582912); // 1.5 * 2^23
  putSingle(K.Ln2High, 0.693145751953125); // 15 bits: a product with n is exact
  putSingle(K.Ln2Low, 1.428606765330187e-6);
  // (e^r - 1 - r) / r^2 for |r| <= ln(2)/2: 3.2e-9 of e^r
  putSingle(K.SingleExp2, 0.4999999403953552);
  putSingle(K.SingleExp3, 0.16666516661643982);
  putSingle(K.SingleExp4, 0.04166810214519501);
  putSingle(K.SingleExp5, 0.008369192481040955);
  putSingle(K.SingleExp6, 0.0013838812010362744);
  putSingle(K.ExpLeast, -104);
  putSingle(K.ExpMost, 89);
  putBits(K.ExponentMask, 0xff800000);

  // Of minimal filtering (winograd/transform.ts): a = sqrt(1/2), b = sqrt(2), their cubes, squares and the squares' sum.
  putSingle(K.FilterA, 0.7071067811865476);
  putSingle(K.FilterB, 1.4142135623730951);
  putSingle(K.FilterA3, 0.3535533905932738);
  putSingle(K.FilterB3, 2.8284271247461903);
  putSingle(K.FilterHalf, 0.5);
  putSingle(K.FilterTwo, 2);
  putSingle(K.FilterSum, 2.5);

  // The first 216 bits of 2/pi after 8 zeros.
  store<u64>(Memory.Constants + K.TwoOverPiBits * 8, 0x993c439041fe5163, 0);
  store<u64>(Memory.Constants + K.TwoOverPiBits * 8, 0xd1f534ddc0db6295, 8);
  store<u64>(Memory.Constants + K.TwoOverPiBits * 8, 0x6e4e441529fc2757, 16);
  store<u64>(Memory.Constants + K.TwoOverPiBits * 8, 0x0000000000a2f983, 24);
}
