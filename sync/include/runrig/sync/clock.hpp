#pragma once

#include <chrono>
#include <optional>

namespace runrig {

/// All timeouts run on CLOCK_MONOTONIC, which is what libstdc++'s steady_clock reads: setting the time of day
/// neither prolongs nor cuts a wait. The clock is the same in all processes of a machine.
using Clock = std::chrono::steady_clock;

/// The longest wait a caller may ask for: "for ever" without overflow.
inline constexpr std::chrono::nanoseconds forever = std::chrono::nanoseconds::max();

/// When a wait ends: a point in time, or never. Made from a timeout once, so that repeated waits add up right. One
/// word, so that it crosses calls in a register.
class Deadline {
 public:
  /// Never passes.
  constexpr Deadline() noexcept = default;
  /// `timeout` from now; zero or negative has passed already; one too long to add up never passes.
  template <class Rep, class Period>
  [[nodiscard]] static Deadline after(std::chrono::duration<Rep, Period> timeout) {
    using Wide = std::chrono::duration<long double, std::nano>;
    Deadline deadline;
    const auto now = Clock::now();
    const Wide wide(timeout);
    if (!(wide.count() > 0)) {  // also NaN
      deadline.when_ = now;
    } else if (Wide(now.time_since_epoch()) + wide < Wide(Clock::time_point::max().time_since_epoch()) - Wide(1e9L)) {
      deadline.when_ = now + std::chrono::nanoseconds(static_cast<long long>(wide.count()));
    }
    return deadline;
  }
  [[nodiscard]] static Deadline at(Clock::time_point when) noexcept {
    Deadline deadline;
    deadline.when_ = when;
    return deadline;
  }
  /// Whichever comes first of this and `other`.
  [[nodiscard]] Deadline sooner(Deadline other) const noexcept { return at(when_ < other.when_ ? when_ : other.when_); }
  [[nodiscard]] bool passed() const noexcept {
    // Of one in the past for all of the clock's life, too, without asking the clock.
    return when_ != never && (when_ == Clock::time_point::min() || Clock::now() >= when_);
  }
  [[nodiscard]] std::optional<Clock::time_point> when() const noexcept {
    return when_ == never ? std::nullopt : std::optional(when_);
  }
  /// What is left, not negative; `forever` if the deadline never passes.
  [[nodiscard]] std::chrono::nanoseconds remaining() const noexcept {
    if (when_ == never) return forever;
    const auto now = Clock::now();
    return when_ > now ? std::chrono::nanoseconds(when_ - now) : std::chrono::nanoseconds(0);
  }

 private:
  static constexpr Clock::time_point never = Clock::time_point::max();
  Clock::time_point when_ = never;
};

}  // namespace runrig
