#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace runrig {

/// The levels of Python's logging module, and the two that multiprocessing has besides.
enum class LogLevel : std::int32_t {
  notset = 0,
  subdebug = 5,
  debug = 10,
  info = 20,
  subwarning = 25,
  warning = 30,
  error = 40,
  critical = 50,
};
/// "WARNING"; "LEVEL" for a number without a name.
[[nodiscard]] std::string_view to_string(LogLevel level) noexcept;

/// The engine's logger, which programs may use as well: one for the process, to be had by get_logger().
///
/// After log_to_stderr(), each message is a line "[LEVEL/ProcessName] message" on standard error, written at once and
/// whole: lines of other threads and of other processes that share the stream, never come in between, however long
/// they are (see write_whole()). Before, messages of level warning and above are written without that head, as Python
/// does for a logger without handlers.
///
/// Children of every start method begin with their parent's level, and write to standard error if it does; what they
/// change later is theirs.
///
/// Any thread. Never throws: a message that cannot be written is lost.
class Logger {
 public:
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  /// From which level on messages are written; notset at first.
  void set_level(LogLevel level) noexcept;
  [[nodiscard]] LogLevel level() const noexcept;
  /// The same with notset replaced by warning, which is what decides.
  [[nodiscard]] LogLevel effective_level() const noexcept;
  [[nodiscard]] bool is_enabled_for(LogLevel level) const noexcept { return level >= effective_level(); }

  void log(LogLevel level, std::string_view message) noexcept {
    if (is_enabled_for(level)) write(level, message);
  }
  void debug(std::string_view message) noexcept { log(LogLevel::debug, message); }
  void info(std::string_view message) noexcept { log(LogLevel::info, message); }
  void warning(std::string_view message) noexcept { log(LogLevel::warning, message); }
  void error(std::string_view message) noexcept { log(LogLevel::error, message); }
  void critical(std::string_view message) noexcept { log(LogLevel::critical, message); }
  /// Between notset and debug, and between info and warning: what the engine itself says at length.
  void subdebug(std::string_view message) noexcept { log(LogLevel::subdebug, message); }
  void subwarning(std::string_view message) noexcept { log(LogLevel::subwarning, message); }

 private:
  friend Logger& get_logger() noexcept;
  Logger() = default;
  void write(LogLevel level, std::string_view message) noexcept;
};

/// The logger of this process.
[[nodiscard]] Logger& get_logger() noexcept;
/// Has the logger write to standard error, and sets its level if one is given. Calling it again changes nothing else:
/// messages are not doubled, as they are in Python.
Logger& log_to_stderr(std::optional<LogLevel> level = std::nullopt) noexcept;

namespace detail {

/// What a new process takes over from its parent's logger.
struct LogSettings {
  LogLevel level = LogLevel::notset;
  bool to_stderr = false;
  friend bool operator==(const LogSettings&, const LogSettings&) = default;
};
[[nodiscard]] LogSettings log_settings() noexcept;
void apply(const LogSettings& settings) noexcept;

}  // namespace detail
}  // namespace runrig
