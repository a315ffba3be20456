// What kind of instruction a 32-bit A64 word is, and how many bytes of memory it reads and writes.
//
// Follows the top-level encoding tables of the Arm Architecture Reference Manual (DDI 0487, section C4.1, "A64
// instruction set encoding"). SVE, SME, MTE and the cryptographic instructions are `other`: none of the cores that are
// emulated here has the first three, and no network uses the last.

#ifndef TTA_LITE_A64_CLASSES_H
#define TTA_LITE_A64_CLASSES_H

#include <stdint.h>

// The order is that of the columns in the plugin's answer; tta_lite/measure/device/counters.py reads their names there.
#define A64_CLASSES(X)                                                                    \
  X(branch)                 /* b, bl, b.cond, cbz, tbz, br, blr, ret */                   \
  X(integer)                /* of general registers: add, and, lsl, csel, mov, adr */     \
  X(integer_multiply)       /* madd, smull, smulh, and the divisions udiv, sdiv */        \
  X(load)                   /* to general registers, pairs and exclusives too */          \
  X(store)                  /* of general registers */                                    \
  X(load_simd)              /* to SIMD and floating-point registers */                    \
  X(store_simd)             /* of SIMD and floating-point registers */                    \
  X(atomic)                 /* Armv8.1: cas, swp, ldadd: reads and writes */              \
  X(prefetch)               /* prfm: moves no bytes that the program sees */              \
  X(simd_widening_multiply) /* smull, smlal, smlsl, sqdmlal: int8, int16 to the double */ \
  X(dot_product)            /* sdot, udot, usdot, sudot, smmla, ummla, usmmla */          \
  X(simd_multiply)          /* mul, mla, mls, sqdmulh, sqrdmulh, pmull */                 \
  X(simd_integer)           /* add, shift, compare, narrow, logic, min, max */            \
  X(float_multiply_add)     /* fmla, fmls, fmadd, fcmla of 32 and 64 bits */              \
  X(float)                  /* other arithmetic of 32 and 64 bits */                      \
  X(half)                   /* arithmetic of 16 bits: fp16, bfloat16 */                   \
  X(convert)                /* fcvt, scvtf, ucvtf between any two formats */              \
  X(simd_move)              /* movi, dup, ins, umov, fmov, fcsel, zip, tbl, ext, rev */   \
  X(system)                 /* svc, mrs, barriers, hints, dc */                           \
  X(other)

enum a64_class {
#define X(name) A64_##name,
  A64_CLASSES(X)
#undef X
      A64_CLASS_COUNT
};

struct a64_instruction {
  enum a64_class kind;
  uint32_t bytes_loaded;
  uint32_t bytes_stored;
};

static inline uint32_t a64_bits(uint32_t word, int high, int low) { return (word >> low) & ((2u << (high - low)) - 1); }

static inline struct a64_instruction a64_plain(enum a64_class kind) {
  struct a64_instruction found = {kind, 0, 0};
  return found;
}

static inline struct a64_instruction a64_memory(int simd, int load, uint32_t bytes) {
  struct a64_instruction found = {A64_other, load ? bytes : 0, load ? 0 : bytes};
  found.kind = simd ? (load ? A64_load_simd : A64_store_simd) : (load ? A64_load : A64_store);
  return found;
}

static inline struct a64_instruction a64_atomic(uint32_t bytes) {
  struct a64_instruction found = {A64_atomic, bytes, bytes};
  return found;
}

// ld1..ld4 and st1..st4 of whole registers and of one element.
static inline struct a64_instruction a64_structures(uint32_t word) {
  int load = a64_bits(word, 22, 22);
  if (!a64_bits(word, 24, 24)) {
    static const uint8_t registers[16] = {4, 0, 4, 0, 3, 0, 3, 1, 2, 0, 2, 0, 0, 0, 0, 0};
    return a64_memory(1, load, registers[a64_bits(word, 15, 12)] * (a64_bits(word, 30, 30) ? 16 : 8));
  }
  uint32_t opcode = a64_bits(word, 15, 13), size = a64_bits(word, 11, 10);
  uint32_t elements = ((opcode & 1) << 1 | a64_bits(word, 21, 21)) + 1, scale = opcode >> 1;
  if (scale == 3) scale = size;                // ld1r: one element, into every lane
  else if (scale == 2) scale = size == 1 ? 3 : 2;
  return a64_memory(1, load, elements << scale);
}

// Exclusive and ordered accesses, compare and swap.
static inline struct a64_instruction a64_exclusive(uint32_t word) {
  uint32_t size = a64_bits(word, 31, 30), load = a64_bits(word, 22, 22);
  if (!a64_bits(word, 21, 21)) return a64_memory(0, load, 1u << size);
  if (a64_bits(word, 23, 23)) return a64_atomic(1u << size);                    // cas
  if (size < 2) return a64_atomic(2u << (2 + size));                            // casp
  return a64_memory(0, load, 2u << size);                                       // ldxp, stxp
}

static inline struct a64_instruction a64_single_register(uint32_t word) {
  uint32_t size = a64_bits(word, 31, 30), opc = a64_bits(word, 23, 22);
  if (a64_bits(word, 26, 26)) return a64_memory(1, opc & 1, opc & 2 ? 16 : 1u << size);
  if (size == 3 && opc == 2) return a64_plain(A64_prefetch);
  return a64_memory(0, opc != 0, 1u << size);
}

static inline struct a64_instruction a64_loads_stores(uint32_t word) {
  uint32_t size = a64_bits(word, 31, 30), simd = a64_bits(word, 26, 26), late = a64_bits(word, 24, 24);
  switch (a64_bits(word, 29, 28)) {
    case 0:
      if (simd) return size & 2 ? a64_plain(A64_other) : a64_structures(word);
      return late ? a64_plain(A64_other) : a64_exclusive(word);
    case 1:
      if (!late) {  // from a place near the program counter
        if (simd) return size == 3 ? a64_plain(A64_other) : a64_memory(1, 1, 4u << size);
        return size == 3 ? a64_plain(A64_prefetch) : a64_memory(0, 1, size == 1 ? 8 : 4);
      }
      // ldapur, stlur; the rest of this row is memory tags and the copies of Armv8.8.
      if (simd || a64_bits(word, 21, 21) || a64_bits(word, 11, 10)) return a64_plain(A64_other);
      return a64_memory(0, a64_bits(word, 23, 22) != 0, 1u << size);
    case 2: {  // pairs
      int load = a64_bits(word, 22, 22);
      if (size == 3 || (size == 1 && !simd && !load)) return a64_plain(A64_other);  // the latter: stgp
      return a64_memory(simd, load, 2 * (simd ? 4u << size : size == 2 ? 8 : 4));
    }
    default:
      if (late || !a64_bits(word, 21, 21) || a64_bits(word, 11, 10) == 2) return a64_single_register(word);
      if (simd) return a64_plain(A64_other);
      if (a64_bits(word, 10, 10)) return a64_memory(0, 1, 8);                         // ldraa, ldrab
      if (!a64_bits(word, 15, 15) || a64_bits(word, 14, 12) == 0) return a64_atomic(1u << size);
      return a64_bits(word, 14, 12) == 4 ? a64_memory(0, 1, 1u << size) : a64_plain(A64_other);  // ldapr
  }
}

static inline struct a64_instruction a64_branches_system(uint32_t word) {
  uint32_t top = a64_bits(word, 31, 25);
  if (top == 0x6A) {
    struct a64_instruction found = {A64_system, 0, 0};
    // dc zva clears a block: 64 bytes on all cores that are emulated here (DCZID_EL0.BS = 4).
    if ((word & 0xFFFFFFE0) == 0xD50B7420) found.bytes_stored = 64;
    return found;
  }
  return a64_plain(top == 0x2B || (top & 0x30) == 0x30 ? (top == 0x6B ? A64_branch : A64_other) : A64_branch);
}

static inline enum a64_class a64_data_register(uint32_t word) {
  if (!a64_bits(word, 28, 28)) return A64_integer;
  if (a64_bits(word, 24, 24)) return A64_integer_multiply;
  int two_sources = a64_bits(word, 24, 21) == 6 && !a64_bits(word, 30, 30);
  return two_sources && a64_bits(word, 15, 11) == 1 ? A64_integer_multiply : A64_integer;  // udiv, sdiv
}

static inline enum a64_class a64_scalar_float(uint32_t word) {
  enum a64_class arithmetic = a64_bits(word, 23, 22) == 3 ? A64_half : A64_float;
  if (a64_bits(word, 24, 24)) return arithmetic == A64_half ? A64_half : A64_float_multiply_add;  // fmadd
  if (!a64_bits(word, 21, 21)) return A64_convert;                                                // fixed point
  if (a64_bits(word, 15, 10) == 0) {
    int move = a64_bits(word, 18, 17) == 3 && a64_bits(word, 20, 19) < 2;
    return move ? A64_simd_move : A64_convert;
  }
  if (a64_bits(word, 14, 10) == 0x10) {  // one source
    uint32_t opcode = a64_bits(word, 20, 15);
    return opcode == 0 ? A64_simd_move : (opcode >> 2) == 1 ? A64_convert : arithmetic;
  }
  if (a64_bits(word, 13, 10) == 8) return arithmetic;                                              // compare
  if (a64_bits(word, 12, 10) == 4) return A64_simd_move;                                           // immediate
  return a64_bits(word, 11, 10) == 3 ? A64_simd_move : arithmetic;                                 // fcsel
}

// Instructions of two operands; those of 16-bit floats have the same numbers in a table of their own.
static inline enum a64_class a64_two_registers(uint32_t word, enum a64_class arithmetic) {
  uint32_t opcode = a64_bits(word, 16, 12), large = a64_bits(word, 23, 23);
  switch (opcode) {
    case 0x00: case 0x01: return A64_simd_move;                                     // rev64, rev32, rev16
    case 0x0C: case 0x0D: case 0x0E: case 0x0F: return arithmetic;                  // compare with 0, fabs, fneg
    case 0x16: case 0x17: return A64_convert;                                       // fcvtn, fcvtl
    case 0x18: case 0x19: case 0x1E: case 0x1F: return arithmetic;                  // frint, fsqrt
    case 0x1A: case 0x1B: return A64_convert;                                       // fcvtns, fcvtms, fcvtzs
    case 0x1C: return large ? A64_simd_integer : A64_convert;                       // urecpe; fcvtas
    case 0x1D: return large ? arithmetic : A64_convert;                             // frecpe; scvtf
    default: return A64_simd_integer;
  }
}

static inline enum a64_class a64_three_same(uint32_t word) {
  uint32_t opcode = a64_bits(word, 15, 11), u = a64_bits(word, 29, 29);
  if (opcode == 0x12 || opcode == 0x13 || opcode == 0x16) return A64_simd_multiply;  // mla, mul, sqdmulh
  if (opcode == 3 && !u && a64_bits(word, 23, 22) == 2 && a64_bits(word, 20, 16) == a64_bits(word, 9, 5))
    return A64_simd_move;  // orr of a register with itself is mov
  if (opcode < 0x18) return A64_simd_integer;
  if (opcode == 0x19) return u ? A64_half : A64_float_multiply_add;  // fmlal2; fmla
  if (opcode == 0x1D && !u) return A64_half;                         // fmlal
  return A64_float;
}

static inline enum a64_class a64_three_same_extra(uint32_t word) {
  uint32_t opcode = a64_bits(word, 14, 11);
  if (opcode < 2) return A64_simd_multiply;                                                       // sqrdmlah
  if (opcode < 6) return A64_dot_product;
  if (opcode == 0xD || opcode == 0xF) return A64_half;                                            // bfmmla, bfdot
  if (opcode < 8) return A64_other;
  if (a64_bits(word, 23, 22) == 1) return A64_half;
  return opcode < 0xC ? A64_float_multiply_add : A64_float;                                       // fcmla, fcadd
}

static inline enum a64_class a64_by_element(uint32_t word) {
  uint32_t u = a64_bits(word, 29, 29), size = a64_bits(word, 23, 22);
  switch (a64_bits(word, 15, 12)) {
    case 0x0: case 0x4: return u ? A64_simd_multiply : A64_half;                                  // mla; fmlal
    case 0x1: case 0x5:                                                                           // fmla; fcmla
      return size == (u ? 1 : 0) ? A64_half : A64_float_multiply_add;
    case 0x3: case 0x7:
      if (u) return size == 1 ? A64_half : A64_float_multiply_add;                                // fcmla
      return A64_simd_widening_multiply;                                                          // sqdmlal
    case 0x2: case 0x6: case 0xA: case 0xB: return A64_simd_widening_multiply;
    case 0x8: case 0xC: return u ? A64_half : A64_simd_multiply;                                  // fmlal2; mul
    case 0x9: return size == 0 ? A64_half : A64_float;                                            // fmul
    case 0xE: return A64_dot_product;
    case 0xF: return u ? A64_simd_multiply : size & 1 ? A64_half : A64_dot_product;               // bfdot; usdot
    default: return A64_simd_multiply;                                                            // sqrdmulh
  }
}

static inline enum a64_class a64_immediate(uint32_t word) {
  uint32_t opcode = a64_bits(word, 15, 11);
  if (a64_bits(word, 22, 19)) return opcode == 0x1C || opcode == 0x1F ? A64_convert : A64_simd_integer;  // shifts
  uint32_t cmode = a64_bits(word, 15, 12);
  return (cmode & 1) && cmode < 12 ? A64_simd_integer : A64_simd_move;  // orr, bic; movi, mvni, fmov
}

static inline enum a64_class a64_simd_float(uint32_t word) {
  uint32_t scalar = a64_bits(word, 28, 28), u = a64_bits(word, 29, 29);
  if (scalar && !a64_bits(word, 30, 30)) return u ? A64_other : a64_scalar_float(word);
  if (a64_bits(word, 31, 31)) return A64_other;  // sha512, eor3
  if (a64_bits(word, 24, 24)) {
    if (!a64_bits(word, 10, 10)) return a64_by_element(word);
    return a64_bits(word, 23, 23) ? A64_other : a64_immediate(word);
  }
  if (a64_bits(word, 21, 21)) {
    if (a64_bits(word, 10, 10)) return a64_three_same(word);
    if (!a64_bits(word, 11, 11)) {
      uint32_t opcode = a64_bits(word, 15, 12);
      return opcode < 8 ? A64_simd_integer : opcode == 0xE ? A64_simd_multiply : A64_simd_widening_multiply;
    }
    switch (a64_bits(word, 20, 17)) {
      case 0x0: return a64_two_registers(word, A64_float);
      case 0x8: {  // over all lanes, or of a pair
        uint32_t opcode = a64_bits(word, 16, 12);
        return opcode >= 0xC && opcode <= 0xF ? (u ? A64_float : A64_half) : A64_simd_integer;
      }
      case 0xC: return a64_bits(word, 22, 22) ? a64_two_registers(word, A64_half) : A64_other;
      default: return A64_other;  // aes, sha
    }
  }
  if (a64_bits(word, 10, 10)) {
    if (a64_bits(word, 15, 15)) return a64_three_same_extra(word);
    if (a64_bits(word, 23, 22) == 0) return A64_simd_move;  // dup, ins, umov, smov
    return A64_half;                                        // three operands of 16-bit floats
  }
  return scalar || a64_bits(word, 15, 15) ? A64_other : A64_simd_move;  // sha; tbl, zip, ext
}

static inline struct a64_instruction a64_decode(uint32_t word) {
  switch (a64_bits(word, 28, 25)) {
    case 0x8: case 0x9: return a64_plain(A64_integer);
    case 0xA: case 0xB: return a64_branches_system(word);
    case 0x4: case 0x6: case 0xC: case 0xE: return a64_loads_stores(word);
    case 0x5: case 0xD: return a64_plain(a64_data_register(word));
    case 0x7: case 0xF: return a64_plain(a64_simd_float(word));
    default: return a64_plain(A64_other);
  }
}

#endif
