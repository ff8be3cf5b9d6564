using Microsoft.Extensions.DependencyInjection;
using Sagas.Testing;
using Shouldly;
using Trip;
using Xunit;

namespace Sagas.Tests.Testing;

/// <summary>The harness, as a user of the example would write with it.</summary>
public sealed class SagaTestTests : IDisposable
{
    private static readonly TripRequest ToParis = new("Paris", "LX8", new DateOnly(2030, 6, 1), "visa", "ann@example.org");
    private readonly List<string> _folders = [];

    [Fact]
    public async Task A_trip_completes()
    {
        await using var test = NewTest();
        var trip = await test.StartAsync("book-trip", ToParis);
        trip.ShouldHaveCompleted();
        trip.ShouldHaveConfirmed("reserve-seat", "reserve-room");
        trip.Result<TripBooked>().ShouldBe(new TripBooked("seat:saga-1", "room:saga-1"));
    }

    [Fact]
    public async Task A_frozen_card_gives_everything_back()
    {
        await using var test = NewTest();
        var trip = await test.StartAsync("book-trip", ToParis with { Card = Magic.FrozenCard });
        trip.ShouldHaveCompensated("reserve-seat", "reserve-room", "hold-money");
        trip.ShouldHaveRefused("capture", "card-frozen");
        trip.ShouldNotHaveBegun("send-ticket");
    }

    [Fact]
    public async Task A_hotel_that_does_not_answer_the_phone_leaves_the_trip_stuck_until_it_does()
    {
        await using var test = NewTest(stuckAfter: 3);
        var trip = await test.StartAsync("book-trip", ToParis with { City = Magic.StuckCity });
        trip.ShouldBe(SagaStatus.Confirming);
        await test.Advance(1.Seconds());
        trip.ShouldBeStuck("reserve-room");
        await test.Advance(3.Days());
        trip.ShouldHaveCompleted();
    }

    [Theory]
    [InlineData("visa")]
    [InlineData(Magic.FrozenCard)]
    public async Task Wherever_a_process_crashes_a_trip_ends_as_it_should(string card)
    {
        var crashes = await SagaTest.CrashAtEveryStep(() => NewTest(), async test =>
        {
            var trip = await test.StartAsync("book-trip", ToParis with { Card = card });
            await test.Advance(1.Hours());
            if (card == "visa") trip.ShouldHaveCompleted();
            else trip.ShouldHaveCompensated("reserve-seat", "reserve-room", "hold-money");
        });
        crashes.ShouldBeGreaterThan(40);
    }

    [Fact]
    public async Task What_is_not_so_is_told_with_the_sagas_story()
    {
        await using var test = NewTest();
        var trip = await test.StartAsync("book-trip", ToParis with { Card = Magic.ExpiredCard });
        var told = Should.Throw<SagaTestException>(trip.ShouldHaveCompleted).Message;
        told.ShouldContain("should be Completed, and is Compensated");
        told.ShouldContain("replied hold-money do refused");
        Should.Throw<SagaTestException>(() => trip.ShouldHaveConfirmed("seat")).Message.ShouldContain("has no step 'seat'. Use one of reserve-seat, reserve-room");
        Should.Throw<SagaTestException>(() => trip.ShouldHaveCompensated("reserve-seat")).Message.ShouldContain("has undone 'reserve-seat', 'reserve-room'");
    }

    private SagaTest NewTest(int stuckAfter = 10)
    {
        var folder = Directory.CreateTempSubdirectory("sagas-test-").FullName;
        _folders.Add(folder);
        return new SagaTest([new BookTrip()], p => p.Add<Seats>("seats").Add<Rooms>("rooms").Add<Money>("money").Add<Tickets>("tickets"),
            services => services.AddSingleton(new DataFolder(folder)), options => options.StuckAfter = stuckAfter);
    }

    public void Dispose()
    {
        foreach (var folder in _folders) Directory.Delete(folder, recursive: true);
    }
}
