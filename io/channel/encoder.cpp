#include "runrig/channel/encoder.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <stdexcept>

#include "nested.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/sync/error.hpp"
#include "text.hpp"

namespace runrig::pickle {

using detail::Op;

namespace {
/// What a vector grows by beyond what is needed now. It is zeroed: that must cost next to nothing, be it the one time
/// or every time.
std::size_t slack(std::size_t used_bytes) noexcept {
  return std::clamp(used_bytes / 4, std::size_t{128}, std::size_t{64} << 10);
}
}  // namespace

Encoder::Encoder(std::vector<std::byte>& out) : out_(&out), out_before_(out.size()) {
  at_ = end_ = out.data() + out.size();
  grow(std::min(longest_scalar, out.capacity() - out.size()));
  put_ops(Op::proto, Op{default_protocol});
}

Encoder::Encoder(std::span<std::byte> room) noexcept
    : at_(room.data()), end_(room.data() + room.size()), begin_(room.data()) {
  put_ops(Op::proto, Op{default_protocol});
}

Encoder::~Encoder() {
  if (out_ != nullptr && !finished_) out_->resize(out_before_);  // never longer, so it cannot throw
}

std::size_t Encoder::finish() {
  put_op(Op::stop);
  finished_ = true;
  if (out_ == nullptr) return static_cast<std::size_t>(at_ - begin_) + dropped_;
  out_->resize(static_cast<std::size_t>(at_ - out_->data()));
  return out_->size() - out_before_;
}

void Encoder::descriptor(std::shared_ptr<UniqueFd> fd) {
  if (carried_ == nullptr) {
    throw std::logic_error(
        "send a connection: a descriptor can go through another connection between "
        "processes of this machine (a duplex pipe or a Unix socket); here it cannot");
  }
  if (!*fd) throw std::logic_error("send a connection: it is closed, or was given to another process");
  integer(static_cast<std::int64_t>(carried_->size()));
  carried_->push_back(std::move(fd));
}

void Encoder::grow(std::size_t bytes) {
  const auto used = static_cast<std::size_t>(at_ - out_->data());
  const std::size_t needed = used + bytes;
  const std::size_t wanted = needed + slack(used - out_before_);
  // What is there already is enough, if it is: memory that is used again is not allocated again.
  out_->resize(needed <= out_->capacity() ? std::min(wanted, out_->capacity()) : wanted);
  at_ = out_->data() + used;
  end_ = out_->data() + out_->size();
}

void Encoder::put_beyond(std::span<const std::byte> bytes) {
  if (out_ == nullptr) {
    dropped_ += bytes.size();
    return;
  }
  constexpr std::size_t large = 4096;
  if (bytes.size() < large) {
    grow(bytes.size());
    return put(bytes.data(), bytes.size());
  }
  // Straight to its place, without zeros first.
  out_->resize(static_cast<std::size_t>(at_ - out_->data()));
  out_->insert(out_->end(), bytes.begin(), bytes.end());
  at_ = end_ = out_->data() + out_->size();
}

template <class T>
void Encoder::put_scalar(Op op, T value) {
  static_assert(1 + sizeof value <= longest_scalar);
  std::array<std::byte, 1 + sizeof value> bytes;
  bytes[0] = static_cast<std::byte>(op);
  std::memcpy(bytes.data() + 1, &value, sizeof value);
  put(bytes.data(), bytes.size());
}

void Encoder::integer(std::int64_t value) {
  if (value >= 0 && value <= std::numeric_limits<std::uint8_t>::max()) {
    put_scalar(Op::binint1, static_cast<std::uint8_t>(value));
  } else if (value >= 0 && value <= std::numeric_limits<std::uint16_t>::max()) {
    put_scalar(Op::binint2, static_cast<std::uint16_t>(value));
  } else if (value >= std::numeric_limits<std::int32_t>::min() && value <= std::numeric_limits<std::int32_t>::max()) {
    put_scalar(Op::binint, static_cast<std::int32_t>(value));
  } else {
    std::array<std::byte, 2 + sizeof value> bytes{static_cast<std::byte>(Op::long1), std::byte{sizeof value}};
    std::memcpy(bytes.data() + 2, &value, sizeof value);
    put(bytes.data(), bytes.size());
  }
}

void Encoder::integer_unsigned(std::uint64_t value) {
  if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return integer(static_cast<std::int64_t>(value));
  }
  // One byte more, zero, so that the highest bit is no sign.
  std::array<std::byte, 3 + sizeof value> bytes{static_cast<std::byte>(Op::long1), std::byte{sizeof value + 1}};
  std::memcpy(bytes.data() + 2, &value, sizeof value);
  put(bytes.data(), bytes.size());
}

void Encoder::big_int(const BigInt& value) {
  if (const auto small = value.to_int64()) return integer(*small);
  const auto bytes = value.bytes();
  if (bytes.size() <= std::numeric_limits<std::uint8_t>::max()) {
    put_scalar(Op::long1, static_cast<std::uint8_t>(bytes.size()));
  } else if (bytes.size() <= std::size_t{std::numeric_limits<std::int32_t>::max()}) {
    put_scalar(Op::long4, static_cast<std::uint32_t>(bytes.size()));
  } else {
    throw Error(std::errc::value_too_large, "write", "int");
  }
  put(bytes.data(), bytes.size());
}

void Encoder::real(double value) { put_scalar(Op::binfloat, __builtin_bswap64(std::bit_cast<std::uint64_t>(value))); }

void Encoder::complex(std::complex<double> value) {
  put(detail::complex_global.data(), detail::complex_global.size());
  begin_tuple(2);
  real(value.real());
  real(value.imag());
  end_tuple(2);
  put_op(Op::reduce);
}

void Encoder::put_payload(Op tiny, Op small, Op large, std::span<const std::byte> payload) {
  if (payload.size() <= std::numeric_limits<std::uint8_t>::max()) {
    put_scalar(tiny, static_cast<std::uint8_t>(payload.size()));
  } else if (payload.size() <= std::numeric_limits<std::uint32_t>::max()) {
    put_scalar(small, static_cast<std::uint32_t>(payload.size()));
  } else {
    put_scalar(large, std::uint64_t{payload.size()});
  }
  put(payload.data(), payload.size());
}

void Encoder::text(std::string_view text) {
  const auto put_text = [this](std::string_view valid) {
    put_payload(Op::short_binunicode, Op::binunicode, Op::binunicode8, std::as_bytes(std::span(valid)));
  };
  if (detail::is_plain_text(text)) return put_text(text);
  put_text(escape_text(text));
}

void Encoder::bytes(std::span<const std::byte> bytes) {
  put_payload(Op::short_binbytes, Op::binbytes, Op::binbytes8, bytes);
}

void Encoder::object(const Object& object) {
  std::vector<std::byte> whole;
  memo_count_ += detail::dump_nested(whole, object, memo_count_);
  put(whole.data(), whole.size());
}

}  // namespace runrig::pickle
