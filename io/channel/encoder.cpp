#include "runrig/channel/encoder.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <stdexcept>

#include "forms.hpp"
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

Encoder::Encoder(std::vector<std::byte>& out, int protocol) : out_(&out), out_before_(out.size()), protocol_(protocol) {
  detail::check_protocol(protocol, nullptr);
  at_ = end_ = out.data() + out.size();
  grow(std::min(longest_scalar, out.capacity() - out.size()));
  put_ops(Op::proto, Op{static_cast<std::uint8_t>(protocol)});
}

Encoder::Encoder(std::span<std::byte> room) noexcept
    : at_(room.data()), end_(room.data() + room.size()), begin_(room.data()) {
  put_ops(Op::proto, Op{default_protocol});
}

Encoder::~Encoder() {
  if (finished_) return;
  // Never longer, so these cannot throw.
  if (out_ != nullptr) out_->resize(out_before_);
  if (buffers_ != nullptr) buffers_->resize(buffers_before_);
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

namespace detail {
/// An Encoder as what Forms write to.
struct EncoderSink {
  Encoder& to;
  [[nodiscard]] int protocol() const noexcept { return to.protocol_; }
  void put(Op op) { to.put_op(op); }
  void put_bytes(std::span<const std::byte> bytes) { to.put(bytes.data(), bytes.size()); }
  template <class T>
  void put_scalar(Op op, T value) {
    to.put_scalar(op, value);
  }
  template <class Length>
  void put_payload(Op op, Length length, std::span<const std::byte> payload) {
    to.put_scalar(op, length);
    put_bytes(payload);
  }
};
}  // namespace detail

namespace {
template <class Write>
void write_form(Encoder& encoder, const Write& write) {
  detail::EncoderSink sink{encoder};
  write(detail::Forms<detail::EncoderSink>(sink));
}

template <class Value>
const Value& checked(const Value& value) {
  if (const char* const fault = find_fault(value)) throw std::logic_error(fault);
  return value;
}
}  // namespace

void Encoder::integer(std::int64_t value) {
  write_form(*this, [=](auto forms) { forms.integer(value); });
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
  write_form(*this, [&](auto forms) { forms.big_int(value); });
}

void Encoder::real(double value) {
  write_form(*this, [=](auto forms) { forms.real(value); });
}

void Encoder::complex(std::complex<double> value) {
  write_form(*this, [=](auto forms) { forms.complex(value); });
}

void Encoder::text(std::string_view text) {
  if (detail::is_plain_text(text)) {
    write_form(*this, [=](auto forms) { forms.text(text); });
  } else {
    write_form(*this, [escaped = escape_text(text)](auto forms) { forms.text(escaped); });
  }
}

void Encoder::bytes(std::span<const std::byte> bytes) {
  write_form(*this, [=](auto forms) { forms.bytes(bytes); });
}

void Encoder::array(std::string_view dtype, const Shape& shape, Order order, const Buffer& content) {
  const auto item = numpy_item_bytes(dtype);
  if (!item || shape.checked_bytes(*item) != content.bytes.size()) {
    throw std::logic_error("write " + std::to_string(content.bytes.size()) + " bytes as an array of " +
                           std::string(dtype) + " and shape " + to_string(shape));
  }
  write_form(*this, [&](auto forms) {
    if (buffers_ == nullptr) return forms.array(dtype, shape, order, content.bytes);
    forms.array_beside(dtype, shape, order);
    buffers_->push_back(content);
  });
}

void Encoder::date(const Date& value) {
  write_form(*this, [&](auto forms) { forms.date(checked(value)); });
}
void Encoder::time(const Time& value) {
  write_form(*this, [&](auto forms) { forms.time(checked(value)); });
}
void Encoder::datetime(const DateTime& value) {
  write_form(*this, [&](auto forms) { forms.datetime(checked(value)); });
}
void Encoder::timedelta(const TimeDelta& value) {
  write_form(*this, [&](auto forms) { forms.timedelta(checked(value)); });
}
void Encoder::timezone(const TimeZone& value) {
  write_form(*this, [&](auto forms) { forms.timezone(checked(value)); });
}

void Encoder::beside(Buffers& buffers) {
  detail::check_protocol(protocol_, &buffers);
  buffers_ = &buffers;
  buffers_before_ = buffers.size();
}

void Encoder::begin_old_set() {
  write_form(*this, [](auto forms) { forms.global("builtins", "set"); });
  begin_list();
}

void Encoder::end_old_set() {
  end_list();
  put_ops(Op::tuple1, Op::reduce);
}

void Encoder::object(const Object& object) {
  std::vector<std::byte> whole;
  memo_count_ += detail::dump_nested(whole, object, memo_count_, protocol_, buffers_);
  put(whole.data(), whole.size());
}

}  // namespace runrig::pickle
