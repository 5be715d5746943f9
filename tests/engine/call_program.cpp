// A program that executes itself once more and has the other process run its calls. Built in several ways: see
// CMakeLists.txt. Prints what differs from what was expected, and "<calls> calls, <n> at another address".

#include "call_program.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>

namespace {

using runrig::detail::Call;
using runrig::detail::CallWire;

struct Functor {
  int base;
  int operator()(int x) const { return base + x; }
};

int times_two(int x) { return 2 * x; }
double half(double x) noexcept { return x / 2; }
template <class T>
T squared(T x) {
  return x * x;
}
// Two lambdas of the same code, which a linker may fold into one.
const auto first_twin = [](int x) { return x + 77; };
const auto second_twin = [](int x) { return x + 77; };

std::uintptr_t address_here() { return reinterpret_cast<std::uintptr_t>(&times_two); }

struct Case {
  const char* name;
  CallWire wire;
  double expected;
};

std::vector<Case> make_cases(const char* module) {
  const int captured = 5;
  std::vector<Case> cases;
  const auto add = [&](const char* name, double expected, CallWire wire) {
    cases.push_back({name, std::move(wire), expected});
  };
  add("function", 42, Call::make(&times_two, 21).wire());
  add("noexcept function", 1.5, Call::make(&half, 3.0).wire());
  add("instance of a template", 49, Call::make(&squared<int>, 7).wire());
  add("other instance of a template", 6.25, Call::make(&squared<double>, 2.5).wire());
  add("lambda without captures", 3, Call::make([](int a, int b) { return a + b; }, 1, 2).wire());
  add("lambda with captures", 15, Call::make([captured](int x) { return captured * x; }, 3).wire());
  add("functor", 103, Call::make(Functor{100}, 3).wire());
  add("generic lambda", 8, Call::make([](auto x) { return 2 * x; }, 4).wire());
  add("first twin", 78, Call::make(first_twin, 1).wire());
  add("second twin", 79, Call::make(second_twin, 2).wire());
  add("static library's lambda", 1004, runrig::test::call_of_static_library(4));
  add("static library's function", 2005, runrig::test::function_of_static_library(5));
  if (module != nullptr) {
    const auto make =
        reinterpret_cast<runrig::test::ModuleCall>(::dlsym(::dlopen(module, RTLD_NOW), "runrig_test_module_call"));
    std::vector<std::byte> bytes;
    make(6, bytes);
    add("module's lambda", 3006, CallWire::read(bytes));
  }
  return cases;
}

double number(std::span<const std::byte> result) { return runrig::pickle::loads(result).as_number(); }

// The child: a call comes in on its standard input, the result and where its code lies go out.
int serve() {
  std::string text((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
  std::vector<std::byte> result;
  CallWire::read(std::as_bytes(std::span(text))).invoke(result);
  std::printf("%.17g %ju", number(result), static_cast<std::uintmax_t>(address_here()));
  return 0;
}

std::string ask(char* self, char* module, const std::vector<std::byte>& wire) {
  std::array<int, 2> to_child{};
  std::array<int, 2> from_child{};
  if (::pipe2(to_child.data(), O_CLOEXEC) != 0 || ::pipe2(from_child.data(), O_CLOEXEC) != 0) return "no pipe";
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, to_child[0], 0);
  ::posix_spawn_file_actions_adddup2(&actions, from_child[1], 1);
  std::string serve_argument = "serve";
  std::array<char*, 4> arguments = {self, serve_argument.data(), module, nullptr};
  pid_t pid = 0;
  if (::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, arguments.data(), environ) != 0) return "no process";
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(to_child[0]);
  ::close(from_child[1]);
  if (::write(to_child[1], wire.data(), wire.size()) != static_cast<ssize_t>(wire.size())) return "short write";
  ::close(to_child[1]);
  std::string answer;
  std::array<char, 256> buffer{};
  for (ssize_t got = 0; (got = ::read(from_child[0], buffer.data(), buffer.size())) > 0;) {
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
  ::close(from_child[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return status == 0 ? answer : "status " + std::to_string(status);
}

}  // namespace

int main(int argc, char** argv) {
  const bool child = argc > 1 && std::strcmp(argv[1], "serve") == 0;
  char* module = child ? (argc > 2 ? argv[2] : nullptr) : (argc > 1 ? argv[1] : nullptr);
  if (child) {
    if (module != nullptr) ::dlopen(module, RTLD_NOW);
    return serve();
  }
  int wrong = 0;
  int elsewhere = 0;
  const auto cases = make_cases(module);
  for (const Case& each : cases) {
    std::vector<std::byte> wire;
    each.wire.write(wire);
    const std::string answer = ask(argv[0], module, wire);
    double value = 0;
    std::uintmax_t address = 0;
    if (std::sscanf(answer.c_str(), "%lf %ju", &value, &address) != 2 || value != each.expected) {
      std::printf("%s: %s instead of %g\n", each.name, answer.c_str(), each.expected);
      ++wrong;
    }
    if (address != address_here()) ++elsewhere;
  }
  std::printf("%zu calls, %d at another address\n", cases.size(), elsewhere);
  return wrong == 0 ? 0 : 1;
}
