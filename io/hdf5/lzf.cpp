#include "lzf.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace runrig::hdf5::detail {
namespace {

constexpr std::size_t max_literals = 32;
constexpr std::size_t max_offset = std::size_t{1} << 13;
constexpr std::size_t max_match = 264;  // 2 + 7 + 255
constexpr std::size_t min_match = 3;
constexpr unsigned hash_bits = 14;

std::uint32_t hash3(const std::uint8_t* at) {
  const std::uint32_t value = (std::uint32_t{at[0]} << 16) | (std::uint32_t{at[1]} << 8) | at[2];
  return (value * 2654435761U) >> (32 - hash_bits);
}

/// Writes tokens to a buffer of fixed size, and knows when it is full.
class TokenWriter {
 public:
  explicit TokenWriter(std::span<std::byte> out)
      : out_(reinterpret_cast<std::uint8_t*>(out.data())), room_(out.size()) {}

  void literals(const std::uint8_t* from, std::size_t count) {
    while (count > 0) {
      const std::size_t run = std::min(count, max_literals);
      if (!reserve(run + 1)) return;
      out_[used_++] = static_cast<std::uint8_t>(run - 1);
      std::memcpy(out_ + used_, from, run);
      used_ += run;
      from += run;
      count -= run;
    }
  }
  void match(std::size_t length, std::size_t distance) {
    if (!reserve(3)) return;
    const std::size_t offset = distance - 1;
    const std::size_t code = length - 2;
    const auto high = static_cast<std::uint8_t>(offset >> 8);
    out_[used_++] = static_cast<std::uint8_t>((std::min<std::size_t>(code, 7) << 5) | high);
    if (code >= 7) out_[used_++] = static_cast<std::uint8_t>(code - 7);
    out_[used_++] = static_cast<std::uint8_t>(offset & 0xff);
  }
  [[nodiscard]] bool full() const { return full_; }
  [[nodiscard]] std::size_t used() const { return full_ ? 0 : used_; }

 private:
  bool reserve(std::size_t bytes) {
    full_ = full_ || bytes > room_ - used_;
    return !full_;
  }
  std::uint8_t* out_;
  std::size_t room_;
  std::size_t used_ = 0;
  bool full_ = false;
};

}  // namespace

std::size_t lzf_decode(std::span<const std::byte> source, std::span<std::byte> out) noexcept {
  const auto* from = reinterpret_cast<const std::uint8_t*>(source.data());
  auto* to = reinterpret_cast<std::uint8_t*>(out.data());
  std::size_t in = 0;
  std::size_t made = 0;
  while (in < source.size()) {
    const std::size_t control = from[in++];
    if (control < max_literals) {
      const std::size_t run = control + 1;
      if (run > source.size() - in || run > out.size() - made) return 0;
      std::memcpy(to + made, from + in, run);
      in += run;
      made += run;
      continue;
    }
    std::size_t length = control >> 5;
    if (length == 7) {
      if (in == source.size()) return 0;
      length += from[in++];
    }
    if (in == source.size()) return 0;
    const std::size_t distance = ((control & 0x1f) << 8) + from[in++] + 1;
    length += 2;
    if (distance > made || length > out.size() - made) return 0;
    // Byte by byte where the copy overlaps itself: that is how runs are written.
    if (distance >= length) {
      std::memcpy(to + made, to + made - distance, length);
    } else {
      for (std::size_t i = 0; i < length; ++i) to[made + i] = to[made + i - distance];
    }
    made += length;
  }
  return made;
}

std::size_t lzf_encode(std::span<const std::byte> source, std::span<std::byte> out) {
  if (source.size() > std::numeric_limits<std::uint32_t>::max()) return 0;
  const auto* from = reinterpret_cast<const std::uint8_t*>(source.data());
  const std::size_t size = source.size();
  std::vector<std::uint32_t> last(std::size_t{1} << hash_bits, 0);  // position + 1 of the last place with this hash
  TokenWriter writer(out);
  std::size_t pending = 0;  // first byte not yet written
  std::size_t at = 0;
  while (at + min_match <= size && !writer.full()) {
    std::uint32_t& slot = last[hash3(from + at)];
    const std::size_t candidate = slot;
    slot = static_cast<std::uint32_t>(at + 1);
    std::size_t length = 0;
    if (candidate != 0 && at - (candidate - 1) <= max_offset) {
      const std::size_t most = std::min(max_match, size - at);
      while (length < most && from[candidate - 1 + length] == from[at + length]) ++length;
    }
    if (length < min_match) {
      ++at;
      continue;
    }
    writer.literals(from + pending, at - pending);
    writer.match(length, at - (candidate - 1));
    at += length;
    pending = at;
  }
  writer.literals(from + pending, size - pending);
  return writer.used();
}

}  // namespace runrig::hdf5::detail
