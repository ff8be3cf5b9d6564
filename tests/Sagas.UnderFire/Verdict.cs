using System.Collections.Concurrent;

namespace Sagas.UnderFire;

/// <summary>Holds what the engine says against the participants' own books, and both against what was said on the wire.</summary>
internal sealed class Verdict(IReadOnlyDictionary<string, string> sagas, IReadOnlyDictionary<string, Order> orders, IReadOnlyList<Entry> books, ConcurrentDictionary<string, Said> heard)
{
    private static readonly string[] Steps = ["debit", "charge", "credit"];

    /// <summary>How many steps were undone though they had no effect.</summary>
    public int EmptyCancels { get; private set; }

    /// <summary>Where the money is.</summary>
    public string Money { get; private set; } = "";

    /// <summary>What is not as promised.</summary>
    /// <param name="balances">The sum of the payee's accounts.</param>
    public IEnumerable<string> Wrongs(long balances)
    {
        var of = books.ToLookup(static entry => entry.Saga);
        foreach (var id in of.Select(static saga => saga.Key).Where(id => !sagas.ContainsKey(id))) yield return $"{id} had effects, and there is no such saga";
        foreach (var (id, status) in sagas)
            foreach (var wrong in WrongsOf([.. of[id]], status, heard.GetValueOrDefault(id) ?? new Said())) yield return $"{id} ({status}): {wrong}";
        foreach (var wrong in WrongMoney(balances)) yield return wrong;
    }

    private IEnumerable<string> WrongsOf(Entry[] effects, string status, Said said)
    {
        Entry? Of(string step, params string[] phases) => effects.FirstOrDefault(entry => entry.Step == step && phases.Contains(entry.Phase));

        if (status is not ("Completed" or "Compensated")) yield return "it has not ended (P7)";
        if (said.Confirm && said.Undo) yield return "it was asked both to confirm and to undo (P1)";
        foreach (var twice in effects.GroupBy(static entry => (entry.Step, entry.Phase)).Where(static group => group.Count() > 1)) yield return $"{twice.Key.Step} {twice.Key.Phase} took effect {twice.Count()} times (P2, P8)";
        foreach (var step in Steps)
        {
            var (forward, confirmed, undone) = (Of(step, "try", "do"), Of(step, "confirm"), Of(step, "cancel", "compensate"));
            if (confirmed is not null && undone is not null) yield return $"{step} was confirmed and undone (P1)";
            if (confirmed is not null && forward is null) yield return $"{step} was confirmed and never tried (P3)";
            if (confirmed is not null && Steps.FirstOrDefault(other => !(Of(other, "try", "do")?.At < confirmed.At)) is { } late) yield return $"{step} was confirmed before {late} had succeeded (P3)";
            if (step != "debit" && forward is not null && !(Of("debit", "try")?.At < forward.At)) yield return $"{step} ran before the debit had succeeded (P5)";
            if (said.Undone.TryGetValue(step, out var undoneAt) && forward?.At > undoneAt) yield return $"{step} took effect after its undoing had been answered (P9)";
            if (undone is not null && forward?.At > undone.At) yield return $"{step} took effect after it was undone (P9)";
            if (said.Undone.ContainsKey(step) && forward is null) EmptyCancels++;
            if (status == "Completed")
            {
                if (forward is null) yield return $"{step} never took effect (P2)";
                if (undone is not null) yield return $"{step} was undone (P2)";
                if (step != "charge" && confirmed is null) yield return $"the reservation of {step} was left open (P2)";
            }
            else
            {
                if (confirmed is not null) yield return $"{step} was confirmed (P1)";
                if (forward is not null && undone is null) yield return $"{step} was left as it was (P2)";
                if (step != "debit" && undone is not null && Of("debit", "cancel") is { } last && last.At < undone.At) yield return $"the debit was cancelled before {step} was undone (P4)";
            }
        }
    }

    private IEnumerable<string> WrongMoney(long balances)
    {
        long Sum(string step, string phase) => books.Where(entry => entry.Step == step && entry.Phase == phase).Sum(static entry => (long)entry.Amount);

        var opened = (long)Enumerable.Range(0, Place.Accounts).Sum(Place.OpeningOf);
        var free = opened - Sum("debit", "try") + Sum("debit", "cancel");
        var held = Sum("debit", "try") - Sum("debit", "cancel") - Sum("debit", "confirm");
        var fees = Sum("charge", "do") - Sum("charge", "compensate");
        var completed = sagas.Where(static saga => saga.Value == "Completed").Select(static saga => saga.Key).ToArray();
        Money = $"{opened} opened = {free} at the payer's + {balances} at the payee's + {fees} for the house + {held} held";
        if (held != 0) yield return $"{held} is still held";
        if (free + balances + fees + held != opened) yield return $"the money does not add up: {Money}";
        if (balances != Sum("credit", "confirm")) yield return $"the payee's accounts hold {balances}, and its books say {Sum("credit", "confirm")}";
        if (balances != completed.Sum(id => (long)orders[id].Amount)) yield return $"the payee's accounts hold {balances}, and completed transfers say {completed.Sum(id => (long)orders[id].Amount)}";
        if (fees != completed.Length * Transfer.Fee) yield return $"{fees} of fees for {completed.Length} completed transfers";
        foreach (var account in books.Where(static entry => entry.Step == "debit").GroupBy(static entry => entry.Account))
            if (Place.OpeningOf(int.Parse(account.Key[1..])) - account.Sum(static entry => entry.Phase switch { "try" => entry.Amount, "cancel" => -entry.Amount, _ => 0 }) < 0) yield return $"account {account.Key} is overdrawn";
    }
}
