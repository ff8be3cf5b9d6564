using Sagas;
using Sagas.Runtime;

namespace Trip;

/// <summary>Holds the participants' files against the sagas: does the stock add up, and did every trip end completely done or completely undone?</summary>
public sealed record Audit(Dictionary<string, int> Trips, Dictionary<string, Count> Stock, List<string> Faults)
{
    /// <summary>Takes a moment's stock. May run while trips do: what has ended is read first, so that its lines are all there.</summary>
    public static async Task<Audit> TakeAsync(DataFolder data, ISagaStore sagas, CancellationToken cancel = default)
    {
        var ended = new Dictionary<string, SagaStatus>();
        var trips = new SortedDictionary<string, int>(StringComparer.Ordinal);
        string? cursor = null;
        do
        {
            var page = await sagas.ListAsync(new SagaFilter(Definition: "book-trip"), 500, cursor, cancel);
            foreach (var saga in page.Items)
            {
                trips[saga.Status.ToString()] = trips.GetValueOrDefault(saga.Status.ToString()) + 1;
                if (saga.Ended) ended[saga.Id.Value] = saga.Course;
            }
            cursor = page.Next;
        }
        while (cursor is not null);

        var files = new[] { "seats", "rooms", "money", "tickets" }.ToDictionary(name => name, name => Ledger.Read(data.Of(name), out _));
        var faults = new List<string>();
        var book = new Book(faults);
        foreach (var (name, lines) in files)
            foreach (var line in lines) book.Add(name, line);
        foreach (var (id, trip) in book.Trips)
        {
            trip.Check(id, faults);
            if (ended.Remove(id, out var status)) trip.CheckEnd(id, status, faults);
            else if (await sagas.FindAsync(new SagaId(id), cancel) is null) faults.Add($"{id}: the participants know it, the engine does not.");
        }
        foreach (var (id, status) in ended)
            if (status == SagaStatus.Completed) faults.Add($"{id}: Completed, and no participant knows it.");

        var stock = new Dictionary<string, Count>
        {
            ["seats"] = Count.Of(files["seats"], Seats.PerFlight, faults),
            ["rooms"] = Count.Of(files["rooms"], Rooms.PerCity, faults),
            ["money"] = Count.Of(files["money"], null, faults),
            ["tickets"] = Count.Of(files["tickets"], null, faults),
        };
        return new Audit(new(trips), stock, faults);
    }

    private sealed class Book(List<string> faults)
    {
        private readonly HashSet<string> _keys = [];

        public Dictionary<string, Lines> Trips { get; } = [];

        public void Add(string participant, Line line)
        {
            if (!_keys.Add(line.Key)) faults.Add($"{line.Saga}: '{line.Key}' took effect twice.");
            if (line.What == "nothing to release") return;
            if (!Trips.TryGetValue(line.Saga, out var trip)) Trips[line.Saga] = trip = new Lines();
            if (!trip.TryAdd((participant, line.What), line.At)) faults.Add($"{line.Saga}: {participant} has two lines that say {line.What}.");
        }
    }

    /// <summary>What the participants did for one trip, and when.</summary>
    private sealed class Lines : Dictionary<(string Participant, string What), DateTimeOffset>
    {
        public void Check(string id, List<string> faults)
        {
            foreach (var who in new[] { "seats", "rooms", "money" })
            {
                var kept = who == "money" ? "captured" : "confirmed";
                if (Has(who, kept) && Has(who, "released")) faults.Add($"{id}: {who} both {kept} and released.");
                if ((Has(who, kept) || Has(who, "released")) && !Has(who, "held")) faults.Add($"{id}: {who} settled what was never held.");
                InOrder(id, (who, "held"), (who, kept), faults);
                InOrder(id, (who, "held"), (who, "released"), faults);
            }
            // Forward: everything is reserved before the money is captured, and that before anything is confirmed or sent.
            foreach (var first in new[] { ("seats", "held"), ("rooms", "held"), ("money", "held") }) Needs(id, ("money", "captured"), first, faults);
            foreach (var last in new[] { ("seats", "confirmed"), ("rooms", "confirmed"), ("tickets", "sent") }) Needs(id, last, ("money", "captured"), faults);
            // Backward: the money first, for it was held last.
            foreach (var who in new[] { "seats", "rooms" })
                if (Has("money", "held") && Has(who, "released")) Needs(id, (who, "released"), ("money", "released"), faults);
        }

        public void CheckEnd(string id, SagaStatus status, List<string> faults)
        {
            if (status == SagaStatus.Completed && !(Has("seats", "confirmed") && Has("rooms", "confirmed") && Has("money", "captured") && Has("tickets", "sent")))
                faults.Add($"{id}: Completed, but only {this}.");
            if (status == SagaStatus.Compensated)
                foreach (var who in new[] { "seats", "rooms", "money" })
                    if (Has(who, "held") && !Has(who, "released")) faults.Add($"{id}: Compensated, but {who} still hold: {this}.");
        }

        public override string ToString() => string.Join(", ", Keys.Select(k => $"{k.Participant} {k.What}"));

        private bool Has(string who, string what) => ContainsKey((who, what));

        private void Needs(string id, (string, string) later, (string, string) before, List<string> faults)
        {
            if (!ContainsKey(later)) return;
            if (!ContainsKey(before)) faults.Add($"{id}: {later.Item1} {later.Item2} without {before.Item1} {before.Item2}.");
            InOrder(id, before, later, faults);
        }

        private void InOrder(string id, (string, string) before, (string, string) later, List<string> faults)
        {
            if (TryGetValue(before, out var first) && TryGetValue(later, out var then) && then < first)
                faults.Add($"{id}: {later.Item1} {later.Item2} at {then:O}, before {before.Item1} {before.Item2} at {first:O}.");
        }
    }
}

/// <summary>A participant's stock. Total is what there is on the flights and days, or in the cities, that were ever asked for; null: no such limit.</summary>
public sealed record Count(int? Total, int? Free, int Held, int Kept, int Released, decimal AmountHeld, decimal AmountKept, decimal AmountReleased)
{
    internal static Count Of(IReadOnlyList<Line> lines, int? each, List<string> faults)
    {
        var settled = lines.Where(l => l.What is "confirmed" or "captured" or "released").Select(l => l.Id).ToHashSet();
        var held = lines.Where(l => l.What == "held" && !settled.Contains(l.Id)).ToArray();
        var kept = lines.Where(l => l.What is "confirmed" or "captured" or "sent").ToArray();
        var released = lines.Where(l => l.What == "released").ToArray();
        int? total = null;
        if (each is { } limit)
        {
            var taken = new Dictionary<string, int>();
            foreach (var line in lines)
                if (line.What is "held" or "released" && (taken[line.Item] = taken.GetValueOrDefault(line.Item) + (line.What == "held" ? 1 : -1)) > limit)
                    faults.Add($"{line.Item}: sold more than there are ({limit}).");
            total = taken.Count * limit;
        }
        return new Count(total, total - held.Length - kept.Length, held.Length, kept.Length, released.Length,
            held.Sum(l => l.Amount), kept.Sum(l => l.Amount), released.Sum(l => l.Amount));
    }
}
