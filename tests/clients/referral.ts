// A referral between two systems, written with only the types that openapi-typescript makes from docs/openapi.json.
// node made/referral.js GATEWAY SENDER_KEY RECEIVER_KEY prints the state that the referral reached.
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./api.js";

type Referral = components["schemas"]["Referral"];
type Problem = components["schemas"]["Problem"];
const [gateway, senderKey, receiverKey] = process.argv.slice(2);

function system(key: string | undefined): Client<paths> {
  return createClient<paths>({ baseUrl: gateway ?? "", headers: { Authorization: `Bearer ${key}` } });
}

/** Returns the content of an answer; throws an error with the reason if the call was refused. */
function contentOf<T>(answer: { data?: T; error?: Problem | undefined; response: Response }): T {
  if (answer.data === undefined) throw new Error(`${answer.response.status} ${answer.error?.reason}: ${JSON.stringify(answer.error?.errors)}`);
  return answer.data;
}

function newKey(): { "Idempotency-Key": string } {
  return { "Idempotency-Key": crypto.randomUUID() };
}

/** Returns the parameters of a step: the referral in the path, its version in a header. */
function step(referral: Referral): { path: { referral_id: string }; header: { "If-Match": string; "Idempotency-Key": string } } {
  return { path: { referral_id: referral.id }, header: { "If-Match": `"${referral.etag}"`, ...newKey() } };
}

const sender = system(senderKey);
const receiver = system(receiverKey);

const results = contentOf(await sender.POST("/api/v1/services/search", { body: { words: "Luna Nueva" } }));
const service = results.items.find((item) => item.need_codes.some((code) => code.startsWith("HOU")));
const need = service?.need_codes.find((code) => code.startsWith("HOU"));
if (!service || !need || !service.organization_id) throw new Error("nobody offers a bed");

const person = contentOf(
  await sender.POST("/api/v1/people", {
    params: { header: newKey() },
    body: {
      identity: { given_name: "Ejemplo" },
      coarse: { age_band: "18-24", language: "es", department: "NI-CI" },
      safe_contact: { channel_code: "through_worker" },
    },
  }),
);
const receipt = contentOf(
  await sender.POST("/api/v1/people/{person_id}/receipts", {
    params: { path: { person_id: person.id }, header: newKey() },
    body: {
      recipient_organization_id: service.organization_id,
      field_groups: ["identity", "contact"],
      purpose_codes: [need],
      giver_code: "person",
      manner_code: "spoken",
      explained_codes: ["interview", "purpose", "uses", "research_use", "right_to_data", "storage_time", "how_to_withdraw"],
    },
  }),
);
const draft = contentOf(
  await sender.POST("/api/v1/referrals", {
    params: { header: newKey() },
    body: { person_id: person.id, need_code: need, urgency: "emergency", service_id: service.id, unsafe_code: "nothing" },
  }),
);
const sent = contentOf(await sender.POST("/api/v1/referrals/{referral_id}/send", { params: step(draft), body: { receipt_id: receipt.id } }));

const inboxReferral = contentOf(await receiver.GET("/api/v1/referrals/{referral_id}", { params: { path: { referral_id: sent.id } } }));
const acknowledged = contentOf(await receiver.POST("/api/v1/referrals/{referral_id}/acknowledge", { params: step(inboxReferral) }));
const accepted = contentOf(
  await receiver.POST("/api/v1/referrals/{referral_id}/accept", {
    params: step(acknowledged),
    body: { planned_first_contact_time: new Date(Date.now() + 3_600_000).toISOString() },
  }),
);
console.log(accepted.state);
