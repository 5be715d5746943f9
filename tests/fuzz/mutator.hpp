#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace runrig::fuzz {

using Input = std::vector<std::uint8_t>;

/// Makes new inputs from those that are known, the same ones for the same seed.
class Mutator {
 public:
  Mutator(std::uint64_t seed, std::size_t most_bytes) : random_(seed), most_bytes_(most_bytes) {}
  /// One of `corpus`, changed in a few places.
  [[nodiscard]] Input operator()(const std::vector<Input>& corpus);

 private:
  [[nodiscard]] std::size_t below(std::size_t bound) { return static_cast<std::size_t>(random_() % bound); }
  void change(Input& input, const std::vector<Input>& corpus);
  void change_byte(Input& input);
  void insert_bytes(Input& input);
  void erase_part(Input& input);
  void repeat_part(Input& input);
  void write_number(Input& input);
  void splice(Input& input, const Input& other);

  std::mt19937_64 random_;
  std::size_t most_bytes_;
};

}  // namespace runrig::fuzz
