#include "deflater.hpp"

#include <isa-l/igzip_lib.h>
#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <vector>

namespace runrig::hdf5::detail {
namespace {

// libdeflate's level that replaces zlib's: the lowest whose streams are not larger on numbers of the usual kinds.
// Twice to eight times as fast for that.
constexpr std::array<int, 10> libdeflate_levels{0, 4, 4, 4, 4, 6, 7, 8, 9, 10};

// Where libdeflate may lose nevertheless, zlib is tried too. It does so by more than 2 % on two kinds of data: noise of
// few bits at the lowest levels, which samples tell; and what hardly holds anything, where trying costs little.
constexpr unsigned last_sampled_level = 3;
constexpr std::size_t sample_pieces = 8;  // spread out: the bytes of shuffled numbers lie in planes
constexpr std::size_t sample_bytes = std::size_t{64} << 10;
constexpr std::size_t sampled_from = 4 * sample_bytes;                         // smaller input is its own sample
constexpr std::size_t hollow(unsigned level) { return level >= 9 ? 12 : 32; }  // this many to one

// ISA-L codes its tokens in blocks of as many as fit. Each has a tree of codes, whose making takes as long as finding 8
// Ki tokens does. Larger blocks follow the data less well in principle; here by 0.3 % at most, and not always.
constexpr std::size_t fast_tokens = std::size_t{32} << 10;
constexpr std::size_t fast_memory = ISAL_DEF_LVL1_REQ + ISAL_DEF_LVL1_TOKEN_SIZE * fast_tokens;
static_assert(fast_memory >= ISAL_DEF_LVL1_MIN);

using Compressor = std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)>;

std::size_t zlib_compress(unsigned level, std::span<const std::byte> in, std::span<std::byte> out) {
  uLongf made = out.size();
  const int result = ::compress2(reinterpret_cast<Bytef*>(out.data()), &made, reinterpret_cast<const Bytef*>(in.data()),
                                 in.size(), static_cast<int>(level));
  if (result == Z_MEM_ERROR) throw std::bad_alloc();
  return result == Z_OK ? made : 0;  // Z_BUF_ERROR: it does not fit
}

}  // namespace

struct Deflater::State {
  unsigned level = 0;
  Compressor compressor{nullptr, &libdeflate_free_compressor};
  std::vector<std::byte> memory;  // of ISA-L; else a second output

  std::size_t by_libdeflate(std::span<const std::byte> in, std::span<std::byte> out) const {
    return libdeflate_zlib_compress(compressor.get(), in.data(), in.size(), out.data(), out.size());
  }

  std::size_t by_isal(std::span<const std::byte> in, std::span<std::byte> out) {
    constexpr auto most = std::numeric_limits<std::uint32_t>::max();
    if (in.size() > most) return 0;
    isal_zstream stream;
    isal_deflate_stateless_init(&stream);
    stream.level = 1;
    stream.level_buf = reinterpret_cast<std::uint8_t*>(memory.data());
    stream.level_buf_size = static_cast<std::uint32_t>(memory.size());
    stream.gzip_flag = IGZIP_ZLIB;
    stream.end_of_stream = 1;
    // The interface lacks a const; the input is only read.
    stream.next_in = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(in.data()));
    stream.avail_in = static_cast<std::uint32_t>(in.size());
    stream.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream.avail_out = static_cast<std::uint32_t>(std::min<std::size_t>(out.size(), most));
    return isal_deflate_stateless(&stream) == COMP_OK ? stream.total_out : 0;
  }

  std::span<std::byte> second_output(std::size_t bytes) {
    if (memory.size() < bytes) memory.resize(bytes);
    return std::span(memory).first(bytes);
  }

  /// Whether zlib makes less of some pieces of it.
  bool zlib_wins_sample(std::span<const std::byte> in) {
    constexpr std::size_t piece = sample_bytes / sample_pieces;
    const auto both = second_output(2 * sample_bytes + 1024);
    const auto sample = both.first(sample_bytes);
    const auto room = both.subspan(sample_bytes);
    for (std::size_t i = 0; i < sample_pieces; ++i) {
      const std::size_t from = (in.size() - piece) / (sample_pieces - 1) * i;
      std::ranges::copy(in.subspan(from, piece), sample.subspan(i * piece).begin());
    }
    const std::size_t theirs = zlib_compress(level, sample, room);
    return theirs < by_libdeflate(sample, room);
  }
};

Deflater::Deflater(unsigned level) : state_(std::make_unique<State>()) {
  state_->level = std::min(level, 9U);
  state_->compressor.reset(libdeflate_alloc_compressor(libdeflate_levels[state_->level]));
  if (!state_->compressor) throw std::bad_alloc();
}
Deflater::Deflater(Fast) : state_(std::make_unique<State>()) { state_->memory.resize(fast_memory); }
Deflater::Deflater(Deflater&&) noexcept = default;
Deflater& Deflater::operator=(Deflater&&) noexcept = default;
Deflater::~Deflater() = default;

std::size_t Deflater::compress(std::span<const std::byte> in, std::span<std::byte> out) {
  State& state = *state_;
  if (!state.compressor) return state.by_isal(in, out);
  const unsigned level = state.level;
  if (level > 0 && level <= last_sampled_level && in.size() >= sampled_from && state.zlib_wins_sample(in)) {
    return zlib_compress(level, in, out);
  }
  const std::size_t made = state.by_libdeflate(in, out);
  const bool small = level > 0 && level <= last_sampled_level && in.size() < sampled_from;
  if (level == 0 || made == 0 || (!small && made > in.size() / hollow(level))) return made;
  const auto room = state.second_output(made);
  const std::size_t theirs = zlib_compress(level, in, room.first(made - 1));
  if (theirs == 0) return made;
  std::ranges::copy(room.first(theirs), out.begin());
  return theirs;
}

}  // namespace runrig::hdf5::detail
