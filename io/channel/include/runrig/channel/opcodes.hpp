#pragma once

#include <cstdint>

namespace runrig::pickle::detail {

/// Pickle's opcodes, as far as Python writes them for the types that we know. Named as in Python's pickle.py.
enum class Op : std::uint8_t {
  mark = '(',
  stop = '.',
  pop = '0',
  pop_mark = '1',
  dup = '2',
  real_text = 'F',     // FLOAT
  integer_text = 'I',  // INT
  string_text = 'S',   // STRING, of Python 2, like the next two
  binstring = 'T',
  short_binstring = 'U',
  binint = 'J',
  binint1 = 'K',
  long_text = 'L',  // LONG
  binint2 = 'M',
  none = 'N',
  reduce = 'R',
  unicode_text = 'V',  // UNICODE
  binunicode = 'X',
  append = 'a',
  build = 'b',
  global = 'c',
  dict = 'd',
  appends = 'e',
  get_text = 'g',  // GET
  binget = 'h',
  long_binget = 'j',
  list = 'l',
  put_text = 'p',  // PUT
  binput = 'q',
  long_binput = 'r',
  setitem = 's',
  tuple = 't',
  setitems = 'u',
  empty_list = ']',
  empty_tuple = ')',
  empty_dict = '}',
  binfloat = 'G',
  binbytes = 'B',
  short_binbytes = 'C',
  proto = 0x80,
  newobj = 0x81,
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  newtrue = 0x88,
  newfalse = 0x89,
  long1 = 0x8a,
  long4 = 0x8b,
  short_binunicode = 0x8c,
  binunicode8 = 0x8d,
  binbytes8 = 0x8e,
  empty_set = 0x8f,
  additems = 0x90,
  frozenset = 0x91,
  newobj_ex = 0x92,
  stack_global = 0x93,
  memoize = 0x94,
  frame = 0x95,
  bytearray8 = 0x96,
  next_buffer = 0x97,
  readonly_buffer = 0x98,
};

}  // namespace runrig::pickle::detail
