#include "key_index.hpp"

#include <sys/random.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "datetime_state.hpp"
#include "node.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::pickle::detail {
namespace {

constexpr std::size_t deepest_key = 1000;
constexpr std::size_t worth_keeping_bytes = 64;
constexpr std::size_t few_keys = 8;  // up to here a scan beats a table

/// What kind of value a hash is of. Numbers are one kind, since 1 == 1.0 == True.
enum class Domain : std::uint64_t {
  none = 1,
  integer,
  fraction,
  complex,
  text,
  bytes,
  tuple,
  frozenset,
  scalar,
  date,
  naive_time,
  time,
  naive_datetime,
  moment,
  timedelta,
  timezone,
};

struct SipState {
  std::uint64_t v0, v1, v2, v3;
  void round() noexcept {
    v0 += v1;
    v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 = std::rotl(v2, 32);
  }
  void rounds(int count) noexcept {
    for (int i = 0; i < count; ++i) round();
  }
  void absorb(std::uint64_t word) noexcept {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  }
  [[nodiscard]] std::uint64_t output() const noexcept { return v0 ^ v1 ^ v2 ^ v3; }
};

Fingerprint secret_key() {
  static const Fingerprint key = [] {
    Fingerprint made;
    const auto got = retry_on_eintr([&] { return ::getrandom(&made, sizeof made, 0); });
    check_errno(got, "get random bytes", "hash key");
    return made;
  }();
  return key;
}

Fingerprint hash_bytes(Domain domain, std::span<const std::byte> bytes) {
  Fingerprint key = secret_key();
  key.low ^= static_cast<std::uint64_t>(domain);
  return siphash(bytes, key);
}

template <class T>
Fingerprint hash_value(Domain domain, const T& value) {
  return hash_bytes(domain, std::as_bytes(std::span(&value, 1)));
}

Fingerprint hash_integer(const BigInt& value) {
  if (const auto small = value.to_int64()) return hash_value(Domain::integer, *small);
  return hash_bytes(Domain::integer, value.bytes());
}

Fingerprint hash_real(double value) {
  if (std::isnan(value)) return hash_value(Domain::fraction, std::numeric_limits<double>::quiet_NaN());
  if (std::isinf(value) || std::trunc(value) != value) return hash_value(Domain::fraction, value);
  return hash_integer(BigInt::from_double(value));
}

Fingerprint hash_complex(std::complex<double> value) {
  if (value.imag() == 0) return hash_real(value.real());
  const Fingerprint parts[]{hash_real(value.real()), hash_real(value.imag())};
  return hash_value(Domain::complex, parts);
}

/// NumPy's scalars are equal to Python's numbers.
Fingerprint hash_scalar(const NdBuffer& value) {
  const auto dtype = value.native_dtype();
  if (dtype && is_complex(*dtype)) return hash_complex(complex_number(*dtype, value.bytes()));
  if (dtype) {
    return visit_dtype(*dtype, [&]<class T>(std::type_identity<T>) {
      const T element = native_element<T>(value.bytes());
      if constexpr (std::is_same_v<T, half>) {
        return hash_real(static_cast<float>(element));
      } else if constexpr (std::is_floating_point_v<T>) {
        return hash_real(element);
      } else if constexpr (std::is_same_v<T, std::uint64_t>) {
        return hash_integer(BigInt::from_unsigned(element));
      } else {
        return hash_integer(BigInt(static_cast<std::int64_t>(element)));
      }
    });
  }
  return hash_bytes(Domain::scalar, value.bytes());
}

// Python compares times that have a zone by what they are in UTC, and never with those that have none.
Fingerprint hash_time(const Time& value) {
  const std::int64_t wall = microseconds_of_day(value);
  return value.zone ? hash_value(Domain::time, wall - offset_microseconds(*value.zone))
                    : hash_value(Domain::naive_time, wall);
}

Fingerprint hash_datetime(const DateTime& value) {
  const std::int64_t wall =
      std::chrono::microseconds(value.date.to_days().time_since_epoch()).count() + microseconds_of_day(value.time);
  return value.time.zone ? hash_value(Domain::moment, wall - offset_microseconds(*value.time.zone))
                         : hash_value(Domain::naive_datetime, wall);
}

/// Of a value of datetime; none for other kinds.
std::optional<Fingerprint> hash_of_datetime(const Object& key) {
  switch (key.kind()) {
    case Kind::date:
      return hash_value(Domain::date, key.as_date());
    case Kind::time:
      return hash_time(key.as_time());
    case Kind::datetime:
      return hash_datetime(key.as_datetime());
    case Kind::timedelta:
      return hash_value(Domain::timedelta, key.as_timedelta());
    case Kind::timezone:
      return hash_value(Domain::timezone, offset_microseconds(key.as_timezone()));
    default:
      return std::nullopt;
  }
}
static_assert(std::has_unique_object_representations_v<Date> && std::has_unique_object_representations_v<TimeDelta>);

}  // namespace

Fingerprint siphash(std::span<const std::byte> bytes, Fingerprint key) noexcept {
  SipState state{key.low ^ 0x736f6d6570736575ULL, key.high ^ 0x646f72616e646f6dULL ^ 0xEEULL,
                 key.low ^ 0x6c7967656e657261ULL, key.high ^ 0x7465646279746573ULL};
  std::uint64_t last = static_cast<std::uint64_t>(bytes.size()) << 56;
  for (; bytes.size() >= sizeof(std::uint64_t); bytes = bytes.subspan(sizeof(std::uint64_t))) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    state.absorb(word);
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) last |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  state.absorb(last);
  state.v2 ^= 0xEEU;
  state.rounds(4);
  const std::uint64_t low = state.output();
  state.v1 ^= 0xDDU;
  state.rounds(4);
  return {low, state.output()};
}

Fingerprint KeyHasher::of_text(std::string_view text) {
  return hash_bytes(Domain::text, std::as_bytes(std::span(text)));
}

std::optional<Fingerprint> KeyHasher::hash(const Object& key, std::size_t depth) {
  switch (key.kind()) {
    case Kind::none:
      return hash_bytes(Domain::none, {});
    case Kind::boolean:
      return hash_value(Domain::integer, std::int64_t{key.as_bool()});
    case Kind::integer:
      return hash_integer(key.as_big_int());
    case Kind::real:
      return hash_real(key.as_real());
    case Kind::complex:
      return hash_complex(key.as_complex());
    case Kind::numpy_scalar:
      return hash_scalar(key.as_array());
    case Kind::string:
      if (key.as_string().size() <= worth_keeping_bytes) return of_text(key.as_string());
      break;
    case Kind::bytes:
      if (key.as_bytes().size() <= worth_keeping_bytes) return hash_bytes(Domain::bytes, key.as_bytes());
      break;
    case Kind::tuple:
    case Kind::frozenset:
      break;
    default:
      return hash_of_datetime(key);
  }
  const Node* const node = Access::node(key).get();
  if (const auto found = kept_.find(node); found != kept_.end()) return found->second.fingerprint;
  const auto fingerprint = hash_compound(key, depth);
  if (fingerprint) kept_.emplace(node, Kept{*fingerprint, key});
  return fingerprint;
}

std::optional<Fingerprint> KeyHasher::hash_compound(const Object& key, std::size_t depth) {
  if (key.kind() == Kind::string) return of_text(key.as_string());
  if (key.kind() == Kind::bytes) return hash_bytes(Domain::bytes, key.as_bytes());
  if (key.kind() == Kind::frozenset) {
    Fingerprint sum;  // of the members, hashed before: in whatever order they come
    const auto& index = Access::as<SetNode>(key).index;
    for (std::size_t i = 0; i < index.size(); ++i) {
      sum.low += index[i].low;
      sum.high += index[i].high;
    }
    return hash_value(Domain::frozenset, sum);
  }
  if (depth >= deepest_key) return std::nullopt;
  std::vector<Fingerprint> parts;
  for (const Object& item : key.items()) {
    const auto part = hash(item, depth + 1);
    if (!part) return std::nullopt;
    parts.push_back(*part);
  }
  return hash_bytes(Domain::tuple, std::as_bytes(std::span(parts)));
}

std::optional<std::size_t> KeyIndex::find(const Fingerprint& key) const noexcept {
  if (slots_.empty()) {
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      if (keys_[i] == key) return i;
    }
    return std::nullopt;
  }
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = key.low & mask; slots_[slot] != 0; slot = (slot + 1) & mask) {
    const std::size_t position = slots_[slot] - 1;
    if (keys_[position] == key) return position;
  }
  return std::nullopt;
}

void KeyIndex::add(const Fingerprint& key) {
  if (keys_.size() >= std::numeric_limits<std::uint32_t>::max() - 1) throw std::length_error("dict: too many keys");
  keys_.push_back(key);
  if (keys_.size() <= few_keys) return;
  if (keys_.size() * 2 <= slots_.size()) return place(keys_.size() - 1);
  try {
    rebuild(std::bit_ceil(keys_.size() * 2));  // at most half full, so that probes stay short
  } catch (...) {
    keys_.pop_back();
    throw;
  }
}

void KeyIndex::clear() noexcept {
  keys_.clear();
  slots_.clear();
}

void KeyIndex::place(std::size_t position) noexcept {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = keys_[position].low & mask;  // fingerprints are as good as random: any bits do
  while (slots_[slot] != 0) slot = (slot + 1) & mask;
  slots_[slot] = static_cast<std::uint32_t>(position + 1);
}

void KeyIndex::rebuild(std::size_t slots) {
  slots_ = std::vector<std::uint32_t>(slots, 0);  // as it was, if there is no memory
  for (std::size_t i = 0; i < keys_.size(); ++i) place(i);
}

}  // namespace runrig::pickle::detail
