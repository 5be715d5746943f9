// Structures, numbers and a string, with and without locks, changed by a child: Python's example of sharedctypes.
#include <cctype>
#include <cstdio>
#include <string>

#include "example.hpp"

struct Point {
  double x = 0;
  double y = 0;
};

void modify(const runrig::Value<int>& number, runrig::RawValue<double> fraction, const runrig::Array<char>& text,
            const runrig::Array<Point>& points) {
  number.with_lock([](int& value) { value *= value; });
  fraction = fraction.value() * fraction.value();
  text.with_lock([](auto letters) {
    for (char& each : letters) each = static_cast<char>(std::toupper(static_cast<unsigned char>(each)));
  });
  points.with_lock([](auto all) {
    for (Point& each : all) each = {each.x * each.x, each.y * each.y};
  });
}

int main(int argc, char** argv) {
  runrig::init(argc, argv);
  choose_start_method(argc, argv);

  const runrig::Shared<runrig::RLock> lock;
  const runrig::Value<int> number(7);
  const runrig::RawValue<double> fraction(1.0 / 3.0);
  const runrig::Array<char> text("hello world", lock);
  const runrig::Array<Point> points(std::initializer_list<Point>{{1.875, -6.25}, {-5.75, 2.0}, {2.375, 9.5}}, lock);
  runrig::Process process(modify, number, fraction, text, points);
  process.start();
  process.join();

  std::printf("%d\n%.15g\n%s\n", number.get(), fraction.value(), text.value().c_str());
  for (std::size_t i = 0; i < points.size(); ++i) std::printf("(%g, %g)\n", points.get(i).x, points.get(i).y);
}
// prints: 49
// prints: 0.111111111111111
// prints: HELLO WORLD
// prints: (3.51562, 39.0625)
// prints: (33.0625, 4)
// prints: (5.64062, 90.25)
