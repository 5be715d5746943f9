#pragma once

#include <algorithm>

namespace runrig::detail {

/// Between two looks at a word that another processor will change soon.
inline void pause_cpu() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Whether to spin before a sleep, from how it went so far.
///
/// Spinning saves a sleep and a wake where the other side runs on another processor just now. Where the processors are
/// busy with other things, it only keeps the other side from running; then it is tried now and then only.
class SpinHabit {
 public:
  [[nodiscard]] bool worth_it() noexcept {
    if (credit_ > 0) return true;
    if (++skipped_ < tries_every) return false;
    skipped_ = 0;
    return true;
  }
  void note(bool found) noexcept { credit_ = found ? std::min(credit_ + 1, most_credit) : std::max(credit_ - 2, 0); }

 private:
  static constexpr int most_credit = 8;
  static constexpr int tries_every = 16;
  int credit_ = most_credit;
  int skipped_ = 0;
};

}  // namespace runrig::detail
