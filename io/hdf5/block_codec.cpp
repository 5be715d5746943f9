#include "block_codec.hpp"

#include <blosc.h>
#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace runrig::hdf5::detail {
namespace {

constexpr std::size_t max_int = std::numeric_limits<int>::max();
constexpr std::size_t lz4_block_bytes = std::size_t{1} << 30;  // the plugin's: one block for all but the largest chunks
constexpr std::size_t bitshuffle_block_bytes = 8192;           // bitshuffle's: a multiple of eight items of about that
constexpr unsigned bitshuffle_lz4 = 2;
constexpr unsigned bitshuffle_zstd = 3;

unsigned parameter(const FilterInfo& filter, std::size_t i, unsigned otherwise) {
  return i < filter.parameters.size() ? filter.parameters[i] : otherwise;
}

// Numbers in these formats have their most significant byte first.
template <class T>
T read_big_endian(std::span<const std::byte> at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | std::to_integer<T>(at[i]));
  return value;
}
template <class T>
void write_big_endian(std::byte* at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<std::byte>(value >> (8 * (sizeof(T) - 1 - i)));
}

/// Output that may not suffice: what does not fit is remembered, not written.
class Sink {
 public:
  explicit Sink(std::span<std::byte> out) : out_(out) {}
  [[nodiscard]] std::span<std::byte> rest() const { return out_.subspan(used_); }
  void advance(std::size_t bytes) { used_ += bytes; }
  template <class T>
  void number(T value) {
    if (out_.size() - used_ < sizeof value) {
      full_ = true;
      return;
    }
    write_big_endian(out_.data() + used_, value);
    used_ += sizeof value;
  }
  void bytes(std::span<const std::byte> from) {
    if (out_.size() - used_ < from.size()) {
      full_ = true;
      return;
    }
    std::copy(from.begin(), from.end(), out_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ += from.size();
  }
  void set_full() { full_ = true; }
  [[nodiscard]] bool full() const { return full_; }
  [[nodiscard]] std::size_t used() const { return full_ ? 0 : used_; }

 private:
  std::span<std::byte> out_;
  std::size_t used_ = 0;
  bool full_ = false;
};

const char* text(const std::byte* bytes) { return reinterpret_cast<const char*>(bytes); }
char* text(std::byte* bytes) { return reinterpret_cast<char*>(bytes); }

bool lz4_block_decode(std::span<const std::byte> in, std::span<std::byte> out) {
  if (in.size() > max_int || out.size() > max_int) return false;
  const int made =
      LZ4_decompress_safe(text(in.data()), text(out.data()), static_cast<int>(in.size()), static_cast<int>(out.size()));
  return made >= 0 && static_cast<std::size_t>(made) == out.size();
}

std::size_t lz4_block_encode(std::span<const std::byte> in, std::span<std::byte> out) {
  if (in.size() > LZ4_MAX_INPUT_SIZE) return 0;
  const int made = LZ4_compress_default(text(in.data()), text(out.data()), static_cast<int>(in.size()),
                                        static_cast<int>(std::min(out.size(), max_int)));
  return static_cast<std::size_t>(std::max(made, 0));
}

bool zstd_decode(std::span<const std::byte> in, std::span<std::byte> out) {
  return ZSTD_decompress(out.data(), out.size(), in.data(), in.size()) == out.size();
}
std::size_t zstd_encode(std::span<const std::byte> in, std::span<std::byte> out, int level) {
  const std::size_t made = ZSTD_compress(out.data(), out.size(), in.data(), in.size(), level);
  return ZSTD_isError(made) != 0 ? 0 : made;
}

// lz4: bytes of all (8), bytes of a block (4); of each block its bytes as stored (4) and these. A block that is stored
// in as many bytes as it has is not compressed.
bool lz4_decode(std::span<const std::byte> in, std::span<std::byte> out) {
  if (in.size() < 12 || read_big_endian<std::uint64_t>(in) != out.size()) return false;
  const std::size_t block_bytes = read_big_endian<std::uint32_t>(in.subspan(8));
  in = in.subspan(12);
  while (!out.empty()) {
    const std::span<std::byte> block = out.first(std::min(block_bytes, out.size()));
    if (block.empty() || in.size() < 4) return false;
    const std::size_t stored = read_big_endian<std::uint32_t>(in);
    in = in.subspan(4);
    if (stored > in.size()) return false;
    if (stored == block.size()) {
      std::copy_n(in.begin(), stored, block.begin());
    } else if (!lz4_block_decode(in.first(stored), block)) {
      return false;
    }
    in = in.subspan(stored);
    out = out.subspan(block.size());
  }
  return in.empty();
}

std::size_t lz4_encode(const FilterInfo& filter, std::span<const std::byte> in, std::span<std::byte> out) {
  const unsigned wanted = parameter(filter, 0, 0);
  const std::size_t block_bytes = std::min<std::size_t>(wanted == 0 ? lz4_block_bytes : wanted, in.size());
  Sink sink(out);
  sink.number(static_cast<std::uint64_t>(in.size()));
  sink.number(static_cast<std::uint32_t>(block_bytes));
  while (!in.empty() && !sink.full()) {
    const auto block = in.first(std::min(block_bytes, in.size()));
    Sink length = sink;
    sink.number(std::uint32_t{0});
    if (sink.full()) break;
    // As many bytes as the block has would mean that it is stored as it is.
    const std::size_t room = std::min(sink.rest().size(), block.size() - 1);
    const std::size_t made = lz4_block_encode(block, sink.rest().first(room));
    length.number(static_cast<std::uint32_t>(made == 0 ? block.size() : made));
    made == 0 ? sink.bytes(block) : sink.advance(made);
    in = in.subspan(block.size());
  }
  return sink.used();
}

std::size_t bitshuffle_items(std::size_t wanted, std::size_t item_bytes) {
  if (wanted != 0) return wanted / 8 * 8;
  return std::max<std::size_t>(bitshuffle_block_bytes / item_bytes / 8 * 8, 128);
}

// bitshuffle: with a compressor behind it bytes of all (8) and of a block (4), then of each block its bytes as stored
// (4) and these; without, only the blocks. The last block is shorter; fewer than eight items at the end are as they
// are.
bool bitshuffle_decode(const FilterInfo& filter, std::size_t item_bytes, std::span<const std::byte> in,
                       std::span<std::byte> out) {
  if (const unsigned stored = parameter(filter, 2, 0); stored != 0) item_bytes = stored;
  const unsigned compressor = parameter(filter, 4, 0);
  if (item_bytes == 0 || item_bytes > out.size() + 1 || compressor == 1 || compressor > bitshuffle_zstd) return false;
  std::size_t block_items = bitshuffle_items(parameter(filter, 3, 0), item_bytes);
  if (compressor != 0) {
    if (in.size() < 12 || read_big_endian<std::uint64_t>(in) != out.size()) return false;
    block_items = read_big_endian<std::uint32_t>(in.subspan(8)) / item_bytes;
    in = in.subspan(12);
  }
  if (block_items == 0 || block_items % 8 != 0) return false;
  std::vector<std::byte> bits;
  for (std::size_t left = out.size() / item_bytes / 8 * 8; left > 0;) {
    const std::size_t items = std::min(block_items, left);
    const std::span<std::byte> block = out.first(items * item_bytes);
    std::span<const std::byte> stored = in;
    if (compressor == 0) {
      if (in.size() < block.size()) return false;
      stored = in.first(block.size());
      in = in.subspan(block.size());
    } else {
      if (in.size() < 4) return false;
      const std::size_t bytes = read_big_endian<std::uint32_t>(in);
      if (bytes > in.size() - 4) return false;
      bits.resize(block.size());
      const auto packed = in.subspan(4, bytes);
      if (!(compressor == bitshuffle_lz4 ? lz4_block_decode(packed, bits) : zstd_decode(packed, bits))) return false;
      stored = bits;
      in = in.subspan(4 + bytes);
    }
    restore_bits(stored, block, item_bytes);
    out = out.subspan(block.size());
    left -= items;
  }
  if (in.size() != out.size()) return false;
  std::copy(in.begin(), in.end(), out.begin());
  return true;
}

std::size_t bitshuffle_encode(const FilterInfo& filter, std::size_t item_bytes, std::span<const std::byte> in,
                              std::span<std::byte> out) {
  const unsigned compressor = parameter(filter, 4, 0);
  const std::size_t block_items = bitshuffle_items(parameter(filter, 3, 0), item_bytes);
  // The parameters may be those of a file. A block of no items would never end, and the header must hold its bytes.
  if (block_items == 0 || block_items > std::numeric_limits<std::uint32_t>::max() / item_bytes) return 0;
  if (compressor == 1 || compressor > bitshuffle_zstd) return 0;
  Sink sink(out);
  if (compressor != 0) {
    sink.number(static_cast<std::uint64_t>(in.size()));
    sink.number(static_cast<std::uint32_t>(block_items * item_bytes));
  }
  std::vector<std::byte> bits;
  for (std::size_t left = in.size() / item_bytes / 8 * 8; left > 0 && !sink.full();) {
    const std::size_t items = std::min(block_items, left);
    const auto block = in.first(items * item_bytes);
    bits.resize(block.size());
    transpose_bits(block, bits, item_bytes);
    if (compressor == 0) {
      sink.bytes(bits);
    } else {
      Sink length = sink;
      sink.number(std::uint32_t{0});
      const std::size_t made = sink.full() ? 0
                               : compressor == bitshuffle_lz4
                                   ? lz4_block_encode(bits, sink.rest())
                                   : zstd_encode(bits, sink.rest(), static_cast<int>(parameter(filter, 5, 3)));
      if (made == 0) return 0;
      length.number(static_cast<std::uint32_t>(made));
      sink.advance(made);
    }
    in = in.subspan(block.size());
    left -= items;
  }
  sink.bytes(in);
  return sink.used();
}

bool blosc_decode(std::span<const std::byte> in, std::span<std::byte> out) {
  std::size_t bytes = 0;
  if (blosc_cbuffer_validate(in.data(), in.size(), &bytes) < 0 || bytes != out.size()) return false;
  const int made = blosc_decompress_ctx(in.data(), out.data(), out.size(), 1);
  return made >= 0 && static_cast<std::size_t>(made) == out.size();
}

std::size_t blosc_encode(const FilterInfo& filter, std::size_t item_bytes, std::span<const std::byte> in,
                         std::span<std::byte> out) {
  if (in.size() > BLOSC_MAX_BUFFERSIZE) return 0;
  const char* compressor = nullptr;
  if (blosc_compcode_to_compname(static_cast<int>(parameter(filter, 6, BLOSC_BLOSCLZ)), &compressor) < 0) return 0;
  const int made =
      blosc_compress_ctx(static_cast<int>(parameter(filter, 4, 5)), static_cast<int>(parameter(filter, 5, 1)),
                         item_bytes, in.size(), in.data(), out.data(), out.size(), compressor, 0, 1);
  return static_cast<std::size_t>(std::max(made, 0));
}

}  // namespace

bool is_block_codec(int filter_id) noexcept {
  return filter_id == blosc_id || filter_id == lz4_id || filter_id == bitshuffle_id || filter_id == zstd_id;
}

bool is_block_compressor(const FilterInfo& filter) noexcept {
  return is_block_codec(filter.id) && (filter.id != bitshuffle_id || parameter(filter, 4, 0) != 0);
}

std::optional<std::size_t> block_decoded_bytes(const FilterInfo& filter, std::span<const std::byte> in) noexcept {
  switch (filter.id) {
    case zstd_id: {
      const auto bytes = ZSTD_getFrameContentSize(in.data(), in.size());
      if (bytes == ZSTD_CONTENTSIZE_UNKNOWN || bytes == ZSTD_CONTENTSIZE_ERROR) return std::nullopt;
      return static_cast<std::size_t>(bytes);
    }
    case bitshuffle_id:
      if (parameter(filter, 4, 0) == 0) return in.size();
      [[fallthrough]];
    case lz4_id:
      if (in.size() < 12) return std::nullopt;
      return static_cast<std::size_t>(read_big_endian<std::uint64_t>(in));
    case blosc_id: {
      std::size_t bytes = 0;
      if (blosc_cbuffer_validate(in.data(), in.size(), &bytes) < 0) return std::nullopt;
      return bytes;
    }
    default:
      return std::nullopt;
  }
}

bool block_decode(const FilterInfo& filter, std::size_t item_bytes, std::span<const std::byte> in,
                  std::span<std::byte> out) {
  switch (filter.id) {
    case zstd_id:
      return zstd_decode(in, out);
    case lz4_id:
      return lz4_decode(in, out);
    case bitshuffle_id:
      return bitshuffle_decode(filter, item_bytes, in, out);
    case blosc_id:
      return blosc_decode(in, out);
    default:
      return false;
  }
}

std::size_t block_encode(const FilterInfo& filter, std::size_t item_bytes, std::span<const std::byte> in,
                         std::span<std::byte> out) {
  switch (filter.id) {
    case zstd_id:
      return zstd_encode(in, out, static_cast<int>(parameter(filter, 0, 3)));
    case lz4_id:
      return lz4_encode(filter, in, out);
    case bitshuffle_id:
      return bitshuffle_encode(filter, item_bytes, in, out);
    case blosc_id:
      return blosc_encode(filter, item_bytes, in, out);
    default:
      return 0;
  }
}

std::vector<unsigned> block_parameters(const FilterInfo& filter, std::size_t item_bytes, std::size_t chunk_bytes) {
  const auto item = static_cast<unsigned>(item_bytes);
  switch (filter.id) {
    case bitshuffle_id: {
      const unsigned compressor = parameter(filter, 4, 0);
      std::vector<unsigned> all{0, 4, item, parameter(filter, 3, 0), compressor};
      if (compressor == bitshuffle_zstd) all.push_back(parameter(filter, 5, 3));
      return all;
    }
    case blosc_id:
      return {2,
              BLOSC_VERSION_FORMAT,
              item,
              static_cast<unsigned>(chunk_bytes),
              parameter(filter, 4, 5),
              parameter(filter, 5, 1),
              parameter(filter, 6, BLOSC_BLOSCLZ)};
    default:
      return filter.parameters;
  }
}

}  // namespace runrig::hdf5::detail
