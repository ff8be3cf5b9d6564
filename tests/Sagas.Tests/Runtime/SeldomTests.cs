using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

public class SeldomTests
{
    private static readonly DateTimeOffset s_noon = new(2026, 6, 1, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void What_fails_many_times_a_second_is_said_at_once_and_then_once_a_second_with_how_often()
    {
        var seldom = new Seldom();
        seldom.Says(3, s_noon, out var count).ShouldBeTrue();
        count.ShouldBe(3);
        for (var ms = 100; ms < 1000; ms += 100) seldom.Says(2, s_noon.AddMilliseconds(ms), out _).ShouldBeFalse();
        seldom.Says(1, s_noon.AddSeconds(1), out count).ShouldBeTrue();
        count.ShouldBe(19);
    }

    [Fact]
    public void A_clock_that_is_set_back_silences_nothing()
    {
        var seldom = new Seldom();
        seldom.Says(1, s_noon, out _);
        seldom.Says(1, s_noon.AddHours(-1), out _).ShouldBeTrue();
    }
}
