#pragma once

#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runrig/channel/object.hpp"
#include "runrig/channel/opcodes.hpp"
#include "runrig/channel/pickle.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig::pickle {

/// Descriptors that travel beside a pickle. Whoever sends them away for good closes them here (reset()), and the object
/// that they came from sees it.
using Descriptors = std::vector<std::shared_ptr<UniqueFd>>;

namespace detail {
struct EncoderSink;
}

/// Writes one pickle, value by value, without an Object in between: what Transfer<T>::write() is given.
///
/// A container is begun and ended around its elements; every begin has its end. What is written reads back with the
/// Decoder's function of the same name, and with Python's pickle module as the type that is named here.
///
/// The bytes go to the end of a vector, or into memory of fixed size, such as a slot in shared memory. There, what does
/// not fit is counted and dropped, so that finish() tells how much room it takes.
class Encoder {
 public:
  /// Appends. Memory that `out` has already is used first; until finish(), its size is not to be relied on. `out` is as
  /// before if finish() is not reached.
  /// Throws std::logic_error for a protocol that is not 2, 3, 4 or 5.
  explicit Encoder(std::vector<std::byte>& out, int protocol = default_protocol);
  /// In protocol 5.
  explicit Encoder(std::span<std::byte> room) noexcept;
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
  ~Encoder();

  /// Ends the pickle; nothing may follow. Returns its length in bytes: if that is more than the room, what lies there
  /// is of no use.
  std::size_t finish();

  void none() { put_op(detail::Op::none); }
  void boolean(bool value) { put_op(value ? detail::Op::newtrue : detail::Op::newfalse); }
  void integer(std::int64_t value);
  void integer_unsigned(std::uint64_t value);
  void big_int(const BigInt& value);
  /// A float.
  void real(double value);
  void complex(std::complex<double> value);
  /// A str. Text that is not UTF-8 is sent as escape_text() has it, and comes back as it was.
  void text(std::string_view text);
  void bytes(std::span<const std::byte> bytes);
  /// A numpy.ndarray of elements that lie as `order` says. `dtype` is NumPy's array-protocol string, and the bytes are
  /// as many as it and the shape say. They go into the pickle, or beside it (see beside()).
  void array(std::string_view dtype, const Shape& shape, Order order, const Buffer& content);
  /// Values of datetime. Throw std::logic_error for one that Python cannot have, Error illegal_byte_sequence for a
  /// zone's name that is not UTF-8.
  void date(const Date& value);
  void time(const Time& value);
  void datetime(const DateTime& value);
  void timedelta(const TimeDelta& value);
  void timezone(const TimeZone& value);
  /// Anything. Throws as dumps() does.
  void object(const Object& object);

  /// A descriptor of this process, of which the other end gets one of its own: its place among all that travel with
  /// this pickle, as an int. Throws std::logic_error where none can travel (see carry()).
  void descriptor(std::shared_ptr<UniqueFd> fd);
  /// From now on, descriptors are added to `carried`, for whoever sends the pickle to send them along.
  void carry(Descriptors& carried) noexcept { carried_ = &carried; }
  /// From now on, the bytes of arrays are added to `buffers` instead of the pickle. Throws std::logic_error unless the
  /// protocol is 5.
  void beside(Buffers& buffers);

  /// The number of elements is the same at both ends and is not sent.
  void begin_tuple(std::size_t elements) { put_op(elements == 0 ? detail::Op::empty_tuple : detail::Op::mark); }
  void end_tuple(std::size_t elements) {
    if (elements != 0) put_op(detail::Op::tuple);
  }
  void begin_list() { put_ops(detail::Op::empty_list, detail::Op::mark); }
  void end_list() { put_op(detail::Op::appends); }
  /// Its elements are key, value, key, value ... The keys must be hashable in Python: no lists, dicts, sets.
  void begin_dict() { put_ops(detail::Op::empty_dict, detail::Op::mark); }
  void end_dict() { put_op(detail::Op::setitems); }
  void begin_set() {
    if (protocol_ < 4) return begin_old_set();
    put_ops(detail::Op::empty_set, detail::Op::mark);
  }
  void end_set() {
    if (protocol_ < 4) return end_old_set();
    put_op(detail::Op::additems);
  }

 private:
  friend struct detail::EncoderSink;
  static constexpr std::size_t longest_scalar = 16;

  void put_op(detail::Op op) {
    const auto byte = static_cast<std::byte>(op);
    put(&byte, 1);
  }
  void put_ops(detail::Op first, detail::Op second) {
    const std::array<std::byte, 2> bytes{static_cast<std::byte>(first), static_cast<std::byte>(second)};
    put(bytes.data(), bytes.size());
  }
  void put(const std::byte* bytes, std::size_t count) {
    if (count > static_cast<std::size_t>(end_ - at_)) return put_beyond({bytes, count});
    if (count > 0) std::memcpy(at_, bytes, count);  // of nothing, `bytes` may be null
    at_ += count;
  }
  template <class T>
  void put_scalar(detail::Op op, T value);
  void begin_old_set();
  void end_old_set();
  void put_beyond(std::span<const std::byte> bytes);
  void grow(std::size_t bytes);

  std::byte* at_ = nullptr;
  std::byte* end_ = nullptr;
  std::byte* begin_ = nullptr;             // of the room; unused with a vector
  std::vector<std::byte>* out_ = nullptr;  // null: a fixed room
  std::size_t out_before_ = 0;             // its size at the beginning
  std::size_t dropped_ = 0;                // bytes that did not fit
  std::uint32_t memo_count_ = 0;           // of all objects so far
  int protocol_ = default_protocol;
  Descriptors* carried_ = nullptr;  // null: none can travel
  Buffers* buffers_ = nullptr;      // null: arrays are in the pickle
  std::size_t buffers_before_ = 0;  // their number at the beginning
  bool finished_ = false;
};

}  // namespace runrig::pickle
