#include "runrig/engine/log.hpp"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <memory>
#include <string>

#include "runrig/engine/process.hpp"
#include "whole_write.hpp"

namespace runrig {
namespace {

// Relaxed, all of it: settings that a thread sees a moment later do no harm, and nothing else goes with them.
constinit std::atomic<LogLevel> chosen_level{LogLevel::notset};
constinit std::atomic<bool> writes_to_stderr{false};

/// Whole lines on standard error. Needs no mutex of its own: see write_whole().
class WholeLines final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    detail::write_whole(STDERR_FILENO, {message.payload.data(), message.payload.size()});
  }
  void flush_() override {}  // nothing is kept back
};

spdlog::logger& lines() {
  // Never destroyed: destructors of static objects may log.
  static auto* const only = [] {
    auto* const made = new spdlog::logger("runrig", std::make_shared<WholeLines>());
    made->set_level(spdlog::level::trace);  // ours decides
    return made;
  }();
  return *only;
}

// Only for those that read what spdlog knows of a message; the line has the level's own name.
spdlog::level::level_enum nearest(LogLevel level) noexcept {
  if (level < LogLevel::debug) return spdlog::level::trace;
  if (level < LogLevel::info) return spdlog::level::debug;
  if (level < LogLevel::warning) return spdlog::level::info;
  if (level < LogLevel::error) return spdlog::level::warn;
  return level < LogLevel::critical ? spdlog::level::err : spdlog::level::critical;
}

}  // namespace

std::string_view to_string(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::notset:
      return "NOTSET";
    case LogLevel::subdebug:
      return "SUBDEBUG";
    case LogLevel::debug:
      return "DEBUG";
    case LogLevel::info:
      return "INFO";
    case LogLevel::subwarning:
      return "SUBWARNING";
    case LogLevel::warning:
      return "WARNING";
    case LogLevel::error:
      return "ERROR";
    case LogLevel::critical:
      return "CRITICAL";
  }
  return "LEVEL";
}

void Logger::set_level(LogLevel level) noexcept { chosen_level.store(level, std::memory_order_relaxed); }

LogLevel Logger::level() const noexcept { return chosen_level.load(std::memory_order_relaxed); }

LogLevel Logger::effective_level() const noexcept {
  const LogLevel chosen = level();
  return chosen == LogLevel::notset ? LogLevel::warning : chosen;
}

void Logger::write(LogLevel level, std::string_view message) noexcept {
  const bool with_head = writes_to_stderr.load(std::memory_order_relaxed);
  if (!with_head && level < LogLevel::warning) return;
  try {
    fmt::memory_buffer line;
    if (with_head) fmt::format_to(std::back_inserter(line), "[{}/{}] ", to_string(level), current_process().name());
    line.append(message);
    line.push_back('\n');
    lines().log(nearest(level), spdlog::string_view_t(line.data(), line.size()));
  } catch (const std::exception&) {
    // No memory for the line. A message must not end the program, and there is nowhere to say so.
  }
}

Logger& get_logger() noexcept {
  static constinit Logger only;
  return only;
}

Logger& log_to_stderr(std::optional<LogLevel> level) noexcept {
  writes_to_stderr.store(true, std::memory_order_relaxed);
  Logger& logger = get_logger();
  if (level) logger.set_level(*level);
  return logger;
}

namespace detail {

LogSettings log_settings() noexcept { return {get_logger().level(), writes_to_stderr.load(std::memory_order_relaxed)}; }

void apply(const LogSettings& settings) noexcept {
  get_logger().set_level(settings.level);
  writes_to_stderr.store(settings.to_stderr, std::memory_order_relaxed);
}

}  // namespace detail
}  // namespace runrig
