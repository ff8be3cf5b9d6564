namespace Sagas.UnderFire;

// Money goes from an account at the payer's to one at the payee's, and a fee to the house: three participants, each with books of its own.

internal sealed record Order(string From, string To, int Amount);
internal sealed record Held(string Account, int Amount);

internal sealed record Debit(string Account, int Amount) : ITryCommand<Debit, Held>;
internal sealed record Credit(string Account, int Amount) : ITryCommand<Credit, Held>;
internal sealed record Charge(string Account, int Amount) : ICommand<Charge, Held>;
internal sealed record Refund(string Account, int Amount) : ICommand<Refund>;

[Saga("transfer", version: 1)]
internal sealed class Transfer : Saga<Order, Held>
{
    public const int Fee = 1;

    protected override SagaEnd<Held> Define(Flow<Order> saga)
    {
        var debit = saga.Tcc(c => new Debit(c.Input.From, c.Input.Amount + Fee)).To("payer").Timeout(2.Seconds()).Retry(12, 200.Milliseconds(), 1.Seconds());
        saga.Parallel(
            f => f.Step(c => new Charge(c.Input.From, Fee)).To("house").Timeout(2.Seconds()).Retry(12, 200.Milliseconds(), 1.Seconds())
                .Compensate((c, charged) => new Refund(charged.Account, charged.Amount)),
            f => f.Tcc(c => new Credit(c.Input.To, c.Input.Amount)).To("payee").Timeout(2.Seconds()).Retry(12, 200.Milliseconds(), 1.Seconds()));
        return saga.Complete(c => c.Get(debit));
    }
}
