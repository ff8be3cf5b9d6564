using Sagas.Participants;

namespace Trip;

/// <summary>Words in the input that give a trip another ending, so that every ending can be seen. Your participants have none of this.</summary>
public static class Magic
{
    public const string FullCity = "Atlantis";
    public const string SmallCity = "Monaco";
    public const string SlowCity = "Venice";
    public const string FlakyCity = "Rome";
    public const string StuckCity = "Pompeii";
    public const string FullFlight = "XX404";
    public const string ExpiredCard = "expired";
    public const string FrozenCard = "frozen";

    public static readonly IReadOnlyDictionary<string, string> Words = new Dictionary<string, string>
    {
        [$"city {FullCity}"] = "has no rooms: refused",
        [$"city {SmallCity}"] = "has 2 rooms a day: the third is refused",
        [$"city {SlowCity}"] = "answers after 2 s",
        [$"city {FlakyCity}"] = "fails now and then, before or after it has reserved: asked again",
        [$"city {StuckCity}"] = "fails its confirm or cancel 5 times: Stuck for a while, then ends",
        [$"flight {FullFlight}"] = "has no seats: refused",
        [$"card {ExpiredCard}"] = "is refused when the money is held",
        [$"card {FrozenCard}"] = "is refused when the money is captured: everything is undone",
    };

    public static int SeatsOf(string flight) => flight == FullFlight ? 0 : int.MaxValue;

    public static int RoomsIn(string city) => city switch { FullCity => 0, SmallCity => 2, _ => int.MaxValue };

    public static Task BeforeTryAsync(string city, CommandContext context, CancellationToken cancel) => city switch
    {
        SlowCity => Task.Delay(TimeSpan.FromSeconds(2), cancel),
        FlakyCity when Dice(context) == 0 => throw new IOException("The hotel hung up before it reserved."),
        _ => Task.CompletedTask,
    };

    public static void AfterTry(string city, CommandContext context)
    {
        if (city == FlakyCity && Dice(context) == 1) throw new IOException("The hotel reserved and hung up.");
    }

    public static void BeforeSecond(string city, CommandContext context)
    {
        if (city == StuckCity && context.Attempt <= 5) throw new IOException("The hotel does not answer the phone.");
    }

    // The first attempts fail for some sagas, later ones succeed.
    private static int Dice(CommandContext context) =>
        context.Attempt > 3 ? 3 : (int)((context.Key.Aggregate(17u, (hash, c) => hash * 31 + c) / 7 + (uint)context.Attempt) % 4);
}
