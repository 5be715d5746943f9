#include "runrig/channel/decoder.hpp"

#include <fcntl.h>

#include <bit>
#include <cstring>

#include "nested.hpp"
#include "runrig/sync/error.hpp"
#include "text.hpp"
#include "tree.hpp"

namespace runrig::pickle {

using detail::Integer;
using detail::Op;

namespace {

constexpr std::size_t head_bytes = 2;  // Op::proto and its number

std::size_t allowance(std::size_t stream_bytes, const Limits& limits) noexcept {
  std::size_t sum = 0;
  return __builtin_add_overflow(stream_bytes, limits.max_memory, &sum) ? SIZE_MAX : sum;
}

/// An int of up to eight bytes, or of nine if the highest is only there to say that it is positive.
std::optional<Integer> parse_integer(std::span<const std::byte> bytes) noexcept {
  if (bytes.size() == sizeof(std::uint64_t) + 1 && bytes.back() == std::byte{0})
    bytes = bytes.first(8);
  else if (!bytes.empty() && bytes.size() <= sizeof(std::uint64_t)) {
    const bool negative = (bytes.back() & std::byte{0x80}) != std::byte{0};
    std::uint64_t bits = negative ? ~std::uint64_t{0} : 0;
    std::memcpy(&bits, bytes.data(), bytes.size());
    return Integer{bits, negative};
  }
  if (bytes.size() > sizeof(std::uint64_t)) return std::nullopt;
  std::uint64_t bits = 0;
  if (!bytes.empty()) std::memcpy(&bits, bytes.data(), bytes.size());
  return Integer{bits, false};
}

double to_real(const Integer& value) noexcept {
  return value.negative ? static_cast<double>(static_cast<std::int64_t>(value.bits)) : static_cast<double>(value.bits);
}

}  // namespace

Decoder::Decoder(std::span<const std::byte> bytes, const Limits& limits, std::span<const Buffer> buffers)
    : begin_(bytes.data()),
      at_(bytes.data() + std::min(head_bytes, bytes.size())),
      end_(bytes.data() + bytes.size()),
      memory_left_(allowance(bytes.size() + detail::total_bytes(buffers), limits)),
      depth_left_(limits.max_depth),
      source_(limits.source),
      buffers_(buffers) {}

Decoder::Decoder(const Object& object, const Limits& limits, std::size_t stream_bytes, std::optional<std::size_t> byte)
    : memory_left_(allowance(stream_bytes, limits)),
      depth_left_(limits.max_depth),
      source_(limits.source),
      tree_(std::make_unique<detail::Tree>(object, limits.source, byte)) {}

Decoder::~Decoder() = default;

bool Decoder::takes(std::span<const std::byte> bytes, const Limits& limits) noexcept {
  return bytes.size() > head_bytes && bytes.size() <= limits.max_bytes &&
         bytes[0] == static_cast<std::byte>(Op::proto) &&
         (bytes[1] == std::byte{default_protocol} || bytes[1] == std::byte{4}) &&
         bytes[2] != static_cast<std::byte>(Op::frame);
}

void Decoder::finish() {
  if (tree_) return;
  expect(Op::stop);
  if (at_ != end_) unexpected();
}

void Decoder::unexpected() const { throw detail::Unexpected{static_cast<std::size_t>(at_ - begin_)}; }

void Decoder::fail(const std::string& why) {
  if (!tree_) unexpected();
  tree_->fail(why);
}

void Decoder::does_not_fit(const Integer& value, std::size_t type_bytes, bool is_signed) {
  fail((value.negative ? std::to_string(static_cast<std::int64_t>(value.bits)) : std::to_string(value.bits)) +
       " does not fit into " + (is_signed ? "a signed" : "an unsigned") + " integer of " +
       std::to_string(8 * type_bytes) + " bits");
}

template <class T>
T Decoder::number() {
  T value;
  std::memcpy(&value, take(sizeof value).data(), sizeof value);
  return value;
}

std::span<const std::byte> Decoder::take(std::uint64_t count) {
  if (count > static_cast<std::uint64_t>(end_ - at_)) unexpected();
  const std::span taken(at_, static_cast<std::size_t>(count));
  at_ += taken.size();
  return taken;
}

void Decoder::enter() {
  if (depth_left_ == 0) fail("nested too deeply (Limits::max_depth)");
  --depth_left_;
}

void Decoder::none() {
  if (!try_none()) fail("expected None");
}

bool Decoder::try_none() {
  if (tree_) return tree_->try_none();
  if (at_ == end_ || *at_ != static_cast<std::byte>(Op::none)) return false;
  ++at_;
  return true;
}

bool Decoder::boolean() {
  if (tree_) return tree_->boolean();
  const Op op = take_op();
  if (op != Op::newtrue && op != Op::newfalse) unexpected();
  return op == Op::newtrue;
}

Integer Decoder::any_integer() {
  if (tree_) return tree_->integer();
  switch (take_op()) {
    case Op::binint1:
      return {number<std::uint8_t>(), false};
    case Op::binint2:
      return {number<std::uint16_t>(), false};
    case Op::binint: {
      const auto value = std::bit_cast<std::int32_t>(number<std::uint32_t>());
      return {static_cast<std::uint64_t>(std::int64_t{value}), value < 0};
    }
    case Op::long1:
      if (const auto value = parse_integer(take(number<std::uint8_t>()))) return *value;
      unexpected();
    default:
      unexpected();
  }
}

BigInt Decoder::big_int() {
  if (tree_) {
    BigInt value = tree_->big_int();
    charge(value.bytes().size());
    return value;
  }
  if (at_ != end_ && (*at_ == static_cast<std::byte>(Op::long1) || *at_ == static_cast<std::byte>(Op::long4))) {
    const std::uint32_t count = take_op() == Op::long1 ? number<std::uint8_t>() : number<std::uint32_t>();
    if (count > static_cast<std::uint32_t>(std::numeric_limits<std::int32_t>::max())) unexpected();
    return BigInt::from_bytes(take(count));
  }
  const Integer value = any_integer();
  return value.negative ? BigInt(static_cast<std::int64_t>(value.bits)) : BigInt::from_unsigned(value.bits);
}

double Decoder::real() {
  if (tree_) return tree_->real();
  if (at_ == end_ || *at_ != static_cast<std::byte>(Op::binfloat)) return to_real(any_integer());
  ++at_;
  return std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>()));
}

std::complex<double> Decoder::complex() {
  if (tree_) return tree_->complex();
  const auto global = take(detail::complex_global.size());
  if (!std::equal(global.begin(), global.end(), detail::complex_global.begin())) {
    at_ -= global.size();
    unexpected();
  }
  begin_tuple(2);
  const double re = real();
  const double im = real();
  end_tuple(2);
  expect(Op::reduce);
  return {re, im};
}

std::span<const std::byte> Decoder::take_payload(Op tiny, Op small, Op large) {
  const Op op = take_op();
  if (op == tiny) return take(number<std::uint8_t>());
  if (op == small) return take(number<std::uint32_t>());
  if (op == large) return take(number<std::uint64_t>());
  --at_;
  unexpected();
}

std::string Decoder::text() {
  std::string_view text;
  if (tree_) {
    text = tree_->text();
    charge(text.size());
  } else {
    const auto payload = take_payload(Op::short_binunicode, Op::binunicode, Op::binunicode8);
    text = {reinterpret_cast<const char*>(payload.data()), payload.size()};
  }
  if (detail::is_plain_text(text)) return std::string(text);
  if (!is_text(text)) fail("a str that is not UTF-8");
  return unescape_text(text);
}

std::span<const std::byte> Decoder::bytes() {
  if (!tree_) return take_payload(Op::short_binbytes, Op::binbytes, Op::binbytes8);
  const auto bytes = tree_->bytes();
  charge(bytes.size());
  return bytes;
}

Object Decoder::object() {
  if (!tree_) unexpected();  // where an object of no known type ends, only the whole pickle tells
  return tree_->take();
}

UniqueFd Decoder::descriptor() {
  const auto place = integer<std::uint64_t>();
  if (place >= carried_.size()) {
    fail("descriptor " + std::to_string(place) + ", where " + std::to_string(carried_.size()) + " came along");
  }
  taken_.resize(carried_.size());
  if (taken_[place]) fail("descriptor " + std::to_string(place) + " a second time");
  taken_[place] = true;
  return UniqueFd(check_errno(::fcntl(carried_[place].get(), F_DUPFD_CLOEXEC, 0), "take descriptor from", source_));
}

void Decoder::begin_tuple(std::size_t elements) {
  enter();
  if (tree_) return tree_->begin_sequence(elements);
  expect(elements == 0 ? Op::empty_tuple : Op::mark);
}

void Decoder::end_tuple(std::size_t elements) {
  ++depth_left_;
  if (tree_) return tree_->end();
  if (elements != 0) expect(Op::tuple);
}

void Decoder::begin_list() {
  enter();
  if (tree_) return tree_->begin_sequence(std::nullopt);
  expect(Op::empty_list);
  expect(Op::mark);
}

void Decoder::begin_dict() {
  enter();
  if (tree_) return tree_->begin_dict();
  expect(Op::empty_dict);
  expect(Op::mark);
}

void Decoder::begin_set() {
  enter();
  if (tree_) return tree_->begin_set();
  expect(Op::empty_set);
  expect(Op::mark);
}

bool Decoder::next(Op end) {
  if (tree_) {
    if (tree_->more()) return true;
    tree_->end();
  } else {
    if (at_ == end_) unexpected();
    if (*at_ != static_cast<std::byte>(end)) return true;
    ++at_;
  }
  ++depth_left_;
  return false;
}

}  // namespace runrig::pickle
