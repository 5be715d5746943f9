#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <unordered_map>

#include "nested.hpp"
#include "node.hpp"
#include "runrig/channel/opcodes.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::pickle {
namespace {

using detail::Access;
using detail::Node;
using detail::Op;

constexpr std::size_t frame_bytes = std::size_t{64} << 10;  // a frame is closed when it has reached this, as in Python
constexpr std::size_t least_frame_bytes = 4;                // Python leaves the header of a smaller one out
constexpr std::size_t frame_header_bytes = 1 + sizeof(std::uint64_t);
constexpr std::size_t batch = 1000;  // elements per APPENDS: bounds the reader's stack

/// Adds a pickle's bytes to `out`.
class Writer {
 public:
  Writer(std::vector<std::byte>& out, int protocol) : out_(out), protocol_(protocol), framed_(protocol >= 4) {}

  void run(const Object& object) {
    put(Op::proto);
    put_number(static_cast<std::uint8_t>(protocol_));
    begin_frame();
    save(object, 0);
    put(Op::stop);
    end_frame();
  }
  /// Only what makes `object`, as part of a pickle whose memo has `memo_count` entries. Returns how many it adds.
  std::uint32_t run_nested(const Object& object, std::uint32_t memo_count) {
    framed_ = false;
    memo_base_ = memo_count;
    save(object, 0);
    return static_cast<std::uint32_t>(memo_.size());
  }

 private:
  // Bytes.
  void put(Op op) { out_.push_back(static_cast<std::byte>(op)); }
  void put_bytes(std::span<const std::byte> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void put_text(std::string_view text) { put_bytes(std::as_bytes(std::span(text))); }
  template <class T>
  void put_number(T value) {
    put_bytes(std::as_bytes(std::span(&value, 1)));
  }

  // Frames, from protocol 4 on. A large payload lies between two of them, so that a reader can take it in one piece.
  void begin_frame() {
    if (!framed_) return;
    frame_start_ = out_.size();
    put(Op::frame);
    put_number(std::uint64_t{0});
  }
  void end_frame() {
    if (!framed_) return;
    const std::size_t content = frame_start_ + frame_header_bytes;
    const std::uint64_t length = out_.size() - content;
    if (length < least_frame_bytes) {
      const auto start = out_.begin() + static_cast<std::ptrdiff_t>(frame_start_);
      out_.erase(start, start + frame_header_bytes);
    } else {
      std::memcpy(out_.data() + frame_start_ + 1, &length, sizeof length);
    }
  }
  void end_large_frame() {
    if (!framed_ || out_.size() - frame_start_ < frame_bytes) return;
    end_frame();
    begin_frame();
  }
  template <class Length>
  void put_payload(Op op, Length length, std::span<const std::byte> payload) {
    const bool alone = framed_ && payload.size() >= frame_bytes;
    if (alone) end_frame();
    put(op);
    put_number(length);
    put_bytes(payload);
    if (alone) begin_frame();
  }

  // Values.
  void save(const Object& object, std::size_t depth);
  void save_node(const Object& object, std::size_t depth);
  // Not inlined, like the containers below: all locals would be on the stack once for each level of nesting.
  [[gnu::noinline]] void save_leaf(const Object& object);
  void save_int(std::int64_t value);
  void save_big_int(const BigInt& value);
  void save_real(double value) {
    put(Op::binfloat);
    put_number(__builtin_bswap64(std::bit_cast<std::uint64_t>(value)));
  }
  void save_complex(std::complex<double> value);
  void save_text(std::string_view text);
  void save_bytes(std::span<const std::byte> bytes);
  void save_latin1(std::span<const std::byte> bytes);
  void save_bytearray(std::span<const std::byte> bytes);
  void save_global(std::string_view module, std::string_view name);
  void save_dtype(std::string_view dtype);
  void save_array(const NdBuffer& array);
  void save_shape(const Shape& shape);
  [[gnu::noinline]] void save_list(const Object& list, std::size_t depth);
  [[gnu::noinline]] void save_tuple(const Object& tuple, std::size_t depth);
  [[gnu::noinline]] void save_dict(const Object& dict, std::size_t depth);
  [[gnu::noinline]] void save_set(const Object& set, std::size_t depth);
  void close_tuple(std::size_t items);
  template <class Elements, class Save>
  void save_batches(const Elements& elements, Op one, Op many, const Save& save_element);

  // The memo: of what more than one handle leads to.
  [[nodiscard]] bool save_from_memo(const Object& object);
  void memoize(const Object& object);

  std::vector<std::byte>& out_;
  const int protocol_;
  bool framed_;
  std::uint32_t memo_base_ = 0;
  std::size_t frame_start_ = 0;
  std::unordered_map<const Node*, std::uint32_t> memo_;
  // A tuple comes into the memo only after its elements. While one is open that its elements may mention, all of them
  // are memoized, so that writing it a second time meets known parts and ends.
  int open_recursive_tuples_ = 0;
};

void Writer::save(const Object& object, std::size_t depth) {
  end_large_frame();
  switch (object.kind()) {
    case Kind::none:
      return put(Op::none);
    case Kind::boolean:
      return put(object.as_bool() ? Op::newtrue : Op::newfalse);
    case Kind::real:
      return save_real(object.as_real());
    case Kind::integer:
      if (Access::raw_node(object) == nullptr) return save_int(object.as_int());
      break;
    default:
      break;
  }
  if (save_from_memo(object)) return;
  if (depth > Limits{}.max_depth) {
    throw Error(std::errc::value_too_large, "write", "object nested deeper than " + std::to_string(Limits{}.max_depth));
  }
  save_node(object, depth);
}

void Writer::save_node(const Object& object, std::size_t depth) {
  switch (object.kind()) {
    // These memoize themselves, before or after their elements.
    case Kind::list:
      return save_list(object, depth);
    case Kind::tuple:
      return save_tuple(object, depth);
    case Kind::dict:
    case Kind::ordered_dict:
      return save_dict(object, depth);
    case Kind::set:
    case Kind::frozenset:
      return save_set(object, depth);
    default:
      return save_leaf(object);
  }
}

void Writer::save_leaf(const Object& object) {
  switch (object.kind()) {
    case Kind::integer:
      save_big_int(object.as_big_int());
      break;
    case Kind::complex:
      save_complex(object.as_complex());
      break;
    case Kind::string:
      save_text(object.as_string());
      break;
    case Kind::bytes:
      save_bytes(object.as_bytes());
      break;
    case Kind::bytearray:
      save_bytearray(object.as_bytes());
      break;
    case Kind::numpy_dtype:
      save_dtype(object.as_dtype());
      break;
    case Kind::array:
      save_array(object.as_array());
      break;
    case Kind::numpy_scalar:
      save_global("numpy.core.multiarray", "scalar");
      save_dtype(object.as_array().dtype());
      save_bytes(object.as_array().bytes());
      close_tuple(2);
      put(Op::reduce);
      break;
    default:
      throw std::logic_error("dumps: a value of no known kind");
  }
  memoize(object);
}

bool Writer::save_from_memo(const Object& object) {
  if (memo_.empty()) return false;
  const auto found = memo_.find(Access::node(object).get());
  if (found == memo_.end()) return false;
  if (found->second <= std::numeric_limits<std::uint8_t>::max()) {
    put(Op::binget);
    put_number(static_cast<std::uint8_t>(found->second));
  } else {
    put(Op::long_binget);
    put_number(found->second);
  }
  return true;
}

void Writer::memoize(const Object& object) {
  const auto node = Access::node(object);
  const bool alone = Access::use_count(object) <= 2;  // `object` and `node`
  if (alone && !node->weakly_referenced && open_recursive_tuples_ == 0) return;
  const auto index = memo_base_ + static_cast<std::uint32_t>(memo_.size());
  memo_.emplace(node.get(), index);
  if (protocol_ >= 4) {
    put(Op::memoize);
  } else if (index <= std::numeric_limits<std::uint8_t>::max()) {
    put(Op::binput);
    put_number(static_cast<std::uint8_t>(index));
  } else {
    put(Op::long_binput);
    put_number(index);
  }
}

void Writer::save_int(std::int64_t value) {
  if (value >= 0 && value <= std::numeric_limits<std::uint8_t>::max()) {
    put(Op::binint1);
    put_number(static_cast<std::uint8_t>(value));
  } else if (value >= 0 && value <= std::numeric_limits<std::uint16_t>::max()) {
    put(Op::binint2);
    put_number(static_cast<std::uint16_t>(value));
  } else if (value >= std::numeric_limits<std::int32_t>::min() && value <= std::numeric_limits<std::int32_t>::max()) {
    put(Op::binint);
    put_number(static_cast<std::int32_t>(value));
  } else {
    put(Op::long1);
    put_number(static_cast<std::uint8_t>(sizeof value));
    put_number(value);
  }
}

void Writer::save_big_int(const BigInt& value) {
  const auto bytes = value.bytes();
  if (bytes.size() <= std::numeric_limits<std::uint8_t>::max()) {
    put(Op::long1);
    put_number(static_cast<std::uint8_t>(bytes.size()));
  } else if (bytes.size() <= std::size_t{std::numeric_limits<std::int32_t>::max()}) {
    put(Op::long4);
    put_number(static_cast<std::uint32_t>(bytes.size()));
  } else {
    throw Error(std::errc::value_too_large, "write", "int");
  }
  put_bytes(bytes);
}

void Writer::save_complex(std::complex<double> value) {
  save_global("builtins", "complex");
  save_real(value.real());
  save_real(value.imag());
  close_tuple(2);
  put(Op::reduce);
}

void Writer::save_text(std::string_view text) {
  if (!is_text(text)) throw Error(std::errc::illegal_byte_sequence, "write", "str");
  const auto bytes = std::as_bytes(std::span(text));
  if (text.size() <= std::numeric_limits<std::uint8_t>::max() && protocol_ >= 4) {
    put_payload(Op::short_binunicode, static_cast<std::uint8_t>(text.size()), bytes);
  } else if (text.size() <= std::numeric_limits<std::uint32_t>::max()) {
    put_payload(Op::binunicode, static_cast<std::uint32_t>(text.size()), bytes);
  } else if (protocol_ >= 4) {
    put_payload(Op::binunicode8, std::uint64_t{text.size()}, bytes);
  } else {
    throw Error(std::errc::value_too_large, "write", "str in an old protocol");
  }
}

void Writer::save_bytes(std::span<const std::byte> bytes) {
  if (protocol_ < 3) {
    save_latin1(bytes);
  } else if (bytes.size() <= std::numeric_limits<std::uint8_t>::max()) {
    put_payload(Op::short_binbytes, static_cast<std::uint8_t>(bytes.size()), bytes);
  } else if (bytes.size() <= std::numeric_limits<std::uint32_t>::max()) {
    put_payload(Op::binbytes, static_cast<std::uint32_t>(bytes.size()), bytes);
  } else if (protocol_ >= 4) {
    put_payload(Op::binbytes8, std::uint64_t{bytes.size()}, bytes);
  } else {
    throw Error(std::errc::value_too_large, "write", "bytes in an old protocol");
  }
}

// Protocol 2 has no bytes: they are text that is to be encoded.
void Writer::save_latin1(std::span<const std::byte> bytes) {
  std::string text;
  text.reserve(bytes.size() * 3 / 2);
  for (const std::byte each : bytes) {
    const auto code = std::to_integer<unsigned>(each);
    if (code < 0x80U) {
      text.push_back(static_cast<char>(code));
    } else {
      text.push_back(static_cast<char>(0xC0U | (code >> 6)));
      text.push_back(static_cast<char>(0x80U | (code & 0x3FU)));
    }
  }
  save_global("_codecs", "encode");
  save_text(text);
  save_text("latin1");
  close_tuple(2);
  put(Op::reduce);
}

void Writer::save_bytearray(std::span<const std::byte> bytes) {
  if (protocol_ >= 5) return put_payload(Op::bytearray8, std::uint64_t{bytes.size()}, bytes);
  save_global("builtins", "bytearray");
  save_bytes(bytes);
  close_tuple(1);
  put(Op::reduce);
}

void Writer::save_global(std::string_view module, std::string_view name) {
  if (protocol_ >= 4) {
    save_text(module);
    save_text(name);
    return put(Op::stack_global);
  }
  put(Op::global);
  put_text(protocol_ < 3 && module == "builtins" ? "__builtin__" : module);
  put_text("\n");
  put_text(name);
  put_text("\n");
}

void Writer::save_dtype(std::string_view dtype) {
  save_global("numpy", "dtype");
  save_text(dtype.substr(1));
  put(Op::newfalse);
  put(Op::newtrue);
  close_tuple(3);
  put(Op::reduce);
  put(Op::mark);
  save_int(3);
  save_text(dtype.substr(0, 1));
  for (int i = 0; i < 3; ++i) put(Op::none);
  save_int(-1);
  save_int(-1);
  save_int(0);
  put(Op::tuple);
  put(Op::build);
}

// The old spelling, which every NumPy reads without a warning, in each protocol.
void Writer::save_array(const NdBuffer& array) {
  save_global("numpy.core.multiarray", "_reconstruct");
  save_global("numpy", "ndarray");
  save_int(0);
  close_tuple(1);
  save_bytes(std::array{std::byte{'b'}});
  close_tuple(3);
  put(Op::reduce);
  put(Op::mark);
  save_int(1);
  save_shape(array.shape());
  save_dtype(array.dtype());
  put(array.order() == Order::fortran ? Op::newtrue : Op::newfalse);
  save_bytes(array.bytes());
  put(Op::tuple);
  put(Op::build);
}

void Writer::save_shape(const Shape& shape) {
  put(Op::mark);
  for (const std::uint64_t extent : shape) {
    if (extent > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      throw Error(std::errc::value_too_large, "write", "array of shape " + to_string(shape));
    }
    save_int(static_cast<std::int64_t>(extent));
  }
  put(Op::tuple);
}

void Writer::close_tuple(std::size_t items) {
  constexpr std::array ops{Op::empty_tuple, Op::tuple1, Op::tuple2, Op::tuple3};
  put(ops[items]);
}

template <class Elements, class Save>
void Writer::save_batches(const Elements& elements, Op one, Op many, const Save& save_element) {
  for (std::size_t start = 0; start < elements.size(); start += batch) {
    const auto part = elements.subspan(start, std::min(batch, elements.size() - start));
    if (part.size() > 1 || one == many) put(Op::mark);
    for (const auto& each : part) save_element(each);
    put(part.size() > 1 ? many : one);
  }
}

void Writer::save_list(const Object& list, std::size_t depth) {
  put(Op::empty_list);
  memoize(list);  // before its elements, which may mention it
  save_batches(list.items(), Op::append, Op::appends, [&](const Object& item) { save(item, depth + 1); });
}

void Writer::save_dict(const Object& dict, std::size_t depth) {
  if (dict.kind() == Kind::ordered_dict) {
    save_global("collections", "OrderedDict");
    put(Op::empty_tuple);
    put(Op::reduce);
  } else {
    put(Op::empty_dict);
  }
  memoize(dict);
  save_batches(dict.entries(), Op::setitem, Op::setitems, [&](const Object::Pair& entry) {
    save(entry.first, depth + 1);
    save(entry.second, depth + 1);
  });
}

void Writer::save_tuple(const Object& tuple, std::size_t depth) {
  const auto items = tuple.items();
  if (items.size() > 3) put(Op::mark);
  const bool recursive = Access::node(tuple)->weakly_referenced;
  open_recursive_tuples_ += recursive ? 1 : 0;
  for (const Object& item : items) save(item, depth + 1);
  open_recursive_tuples_ -= recursive ? 1 : 0;
  // An element may have led back here, and written this tuple already: then that one is taken.
  if (!memo_.empty() && memo_.contains(Access::node(tuple).get())) {
    if (items.size() > 3) {
      put(Op::pop_mark);
    } else {
      for (std::size_t i = 0; i < items.size(); ++i) put(Op::pop);
    }
    (void)save_from_memo(tuple);
    return;
  }
  if (items.size() > 3) {
    put(Op::tuple);
  } else {
    close_tuple(items.size());
  }
  memoize(tuple);
}

void Writer::save_set(const Object& set, std::size_t depth) {
  const auto save_member = [&](const Object& member) { save(member, depth + 1); };
  if (protocol_ >= 4 && set.kind() == Kind::set) {
    put(Op::empty_set);
    memoize(set);
    return save_batches(set.items(), Op::additems, Op::additems, save_member);
  }
  if (protocol_ >= 4) {
    put(Op::mark);
    for (const Object& member : set.items()) save_member(member);
    put(Op::frozenset);
  } else {
    save_global("builtins", kind_name(set.kind()));
    put(Op::empty_list);
    save_batches(set.items(), Op::append, Op::appends, save_member);
    close_tuple(1);
    put(Op::reduce);
  }
  memoize(set);
}

}  // namespace

std::uint32_t detail::dump_nested(std::vector<std::byte>& out, const Object& object, std::uint32_t memo_count) {
  return Writer(out, default_protocol).run_nested(object, memo_count);
}

void dumps_to(std::vector<std::byte>& out, const Object& object, int protocol) {
  if (protocol < 2 || protocol > default_protocol) {
    throw std::logic_error("dumps: protocol " + std::to_string(protocol) + " is not one of 2, 3, 4, 5");
  }
  const std::size_t before = out.size();
  try {
    Writer(out, protocol).run(object);
  } catch (...) {
    out.resize(before);
    throw;
  }
}

std::vector<std::byte> dumps(const Object& object, int protocol) {
  std::vector<std::byte> out;
  dumps_to(out, object, protocol);
  return out;
}

}  // namespace runrig::pickle
