#include "mutator.hpp"

#include <algorithm>
#include <array>

namespace runrig::fuzz {
namespace {

std::ptrdiff_t offset(std::size_t place) noexcept { return static_cast<std::ptrdiff_t>(place); }

}  // namespace

Input Mutator::operator()(const std::vector<Input>& corpus) {
  Input input = corpus[below(corpus.size())];
  for (std::size_t changes = 1 + below(6); changes > 0; --changes) change(input, corpus);
  if (input.size() > most_bytes_) input.resize(most_bytes_);
  return input;
}

void Mutator::change(Input& input, const std::vector<Input>& corpus) {
  if (input.empty()) return insert_bytes(input);
  switch (below(8)) {
    case 0:
    case 1:
      return change_byte(input);
    case 2:
      return insert_bytes(input);
    case 3:
      return erase_part(input);
    case 4:
      return repeat_part(input);
    case 5:
      return write_number(input);
    case 6:
      std::swap(input[below(input.size())], input[below(input.size())]);
      return;
    default:
      return splice(input, corpus[below(corpus.size())]);
  }
}

void Mutator::change_byte(Input& input) {
  std::uint8_t& byte = input[below(input.size())];
  if (below(2) == 0) {
    byte = static_cast<std::uint8_t>(byte ^ (1U << below(8)));
  } else {
    byte = below(4) == 0 ? input[below(input.size())] : static_cast<std::uint8_t>(below(256));
  }
}

void Mutator::insert_bytes(Input& input) {
  const std::size_t count = below(8) == 0 ? 1 + below(200) : 1 + below(4);
  const auto byte = static_cast<std::uint8_t>(below(256));
  input.insert(input.begin() + offset(below(input.size() + 1)), count, byte);
}

void Mutator::erase_part(Input& input) {
  const std::size_t first = below(input.size());
  const std::size_t count = std::min(input.size() - first, below(8) == 0 ? 1 + below(input.size()) : 1 + below(4));
  input.erase(input.begin() + offset(first), input.begin() + offset(first + count));
}

// Memo places, counts and shared parts come from what is written twice; deep and large things from what is written
// often.
void Mutator::repeat_part(Input& input) {
  const std::size_t first = below(input.size());
  const std::size_t count = std::min(input.size() - first, 1 + below(32));
  const Input part(input.begin() + offset(first), input.begin() + offset(first + count));
  const std::size_t times = below(16) == 0 ? 1 + below(most_bytes_ / count) : 1 + below(3);
  Input repeated;
  for (std::size_t i = 0; i < times; ++i) repeated.insert(repeated.end(), part.begin(), part.end());
  input.insert(input.begin() + offset(below(input.size() + 1)), repeated.begin(), repeated.end());
}

// Lengths and numbers that have broken readers before, in all sizes and both byte orders.
void Mutator::write_number(Input& input) {
  constexpr std::array<std::uint64_t, 14> numbers{0,
                                                  1,
                                                  0x7F,
                                                  0x80,
                                                  0xFF,
                                                  0x7FFF,
                                                  0xFFFF,
                                                  0x7FFFFFFF,
                                                  0x80000000,
                                                  0xFFFFFFFF,
                                                  0x100000000,
                                                  0x7FFFFFFFFFFFFFFF,
                                                  0x8000000000000000,
                                                  0xFFFFFFFFFFFFFFFF};
  const std::uint64_t number = numbers[below(numbers.size())] + (below(3) == 0 ? below(16) - 8 : 0);
  const std::size_t bytes = std::size_t{1} << below(4);
  const std::size_t place = below(input.size());
  const bool big_endian = below(2) == 0;
  for (std::size_t i = 0; i < bytes && place + i < input.size(); ++i) {
    input[place + i] = static_cast<std::uint8_t>(number >> (8 * (big_endian ? bytes - 1 - i : i)));
  }
}

void Mutator::splice(Input& input, const Input& other) {
  if (other.empty()) return;
  const std::size_t first = below(other.size());
  const std::size_t count = std::min(other.size() - first, 1 + below(64));
  const auto place = input.begin() + offset(below(input.size() + 1));
  if (below(2) == 0) {
    input.insert(place, other.begin() + offset(first), other.begin() + offset(first + count));
  } else {
    input.erase(place, input.end());
    input.insert(input.end(), other.begin() + offset(first), other.end());
  }
}

}  // namespace runrig::fuzz
